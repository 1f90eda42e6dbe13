"""What executes: devices and backends, the eager call, graph programs, random numbers."""
