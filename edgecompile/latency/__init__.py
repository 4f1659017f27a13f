"""How long a board takes, modelled from what it executes under emulation."""
