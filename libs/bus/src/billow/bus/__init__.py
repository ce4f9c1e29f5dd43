"""The only place that speaks NATS: connection, topology, publishing, consuming, inference calls, images."""
