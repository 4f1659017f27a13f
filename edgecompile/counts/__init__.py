"""Instructions that an artifact executes under emulation, by class and by operator."""
