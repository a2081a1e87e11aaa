"""object-detection: SSD for photos, like SageMaker's built-in algorithm of the same name.

On a laptop, without Docker:  make train/object-detection BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/object-detection:dev train
"""
