"""Input data of the algorithms: channels, .lst and RecordIO files, samples and batches."""
