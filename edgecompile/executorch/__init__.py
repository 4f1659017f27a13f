"""ExecuTorch programs: written and executed by workers in an environment with torch."""
