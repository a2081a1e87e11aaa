"""Data sets: the Oxford-IIIT Pet data set, a drawn one in the same layout, and the channels that are made of them."""
