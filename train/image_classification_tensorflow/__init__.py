"""image-classification-tensorflow: Keras's MobileNetV2 for photos in class folders, with .lst files or in RecordIO.

On a laptop, without Docker:  make train/image-classification-tensorflow BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/image-classification-tensorflow:dev train

One epoch over 300 photos of 128 pixels takes about 8 seconds on 2 CPUs, or 1 second with frozen lower layers.
"""
