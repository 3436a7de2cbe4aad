"""Sample programs for workloads. Each is started as a process of its own and listens on 127.0.0.1:$PORT."""
