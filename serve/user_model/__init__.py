"""A model of a user's own: found, converted or run by TensorFlow, and asked as TensorFlow Serving is."""
