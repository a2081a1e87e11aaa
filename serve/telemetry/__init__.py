"""What is known of requests beside their answers: how long each stage took, the metrics, the request log."""
