"""image-classification-tensorflow: Keras's MobileNetV2 on photos, from class folders, an .lst file or RecordIO.

On a laptop, without Docker:  make train/image-classification-tensorflow BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/image-classification-tensorflow:dev train

One epoch of 300 photos at 128 pixels takes about 8 seconds on 2 processors, 1 second above frozen layers.
"""
