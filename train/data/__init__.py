"""What an algorithm reads: channels, .lst and RecordIO files, samples, batches."""
