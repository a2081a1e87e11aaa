"""image-classification: ResNet classifiers for photos, like SageMaker's built-in algorithm of the same name.

On a laptop, without Docker:  make train/image-classification BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/image-classification:dev train

One epoch over 300 photos of 128 pixels with ResNet-18 takes about 6 seconds on 2 CPUs.
"""
