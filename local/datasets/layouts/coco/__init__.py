"""Reader of COCO's JSON."""
