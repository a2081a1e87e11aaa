"""What is in the channels of a training job, and what will go wrong with it: a page, a picture and sentences."""
