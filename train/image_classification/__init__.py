"""image-classification: ResNet classifiers on photos, as SageMaker's built-in algorithm of that name.

On a laptop, without Docker:  make train/image-classification BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/image-classification:dev train

One epoch of 300 photos at 128 pixels with ResNet-18 takes about 6 seconds on 2 processors.
"""
