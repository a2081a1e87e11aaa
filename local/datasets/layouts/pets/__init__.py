"""The Oxford-IIIT Pet data set."""
