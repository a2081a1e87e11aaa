"""Reader of PASCAL VOC."""
