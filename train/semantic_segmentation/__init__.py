"""semantic-segmentation: FCN, PSP and DeepLabV3 for photos, like SageMaker's built-in algorithm of the same name.

On a laptop, without Docker:  make train/semantic-segmentation BASE_DIR=DIR   (DIR is shaped like /opt/ml)
In the image:                 docker run -v DIR:/opt/ml sagemaker-vision/semantic-segmentation:dev train
"""
