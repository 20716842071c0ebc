"""What runs the deciders: a core that knows neither Kafka nor Bytewax, its Kafka worker, its Bytewax flow, its simulator."""
