"""Reader of the Oxford-IIIT Pet data set."""
