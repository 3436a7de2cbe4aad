"""Between management server and agents: objects, node states and trust, by the delta discovery protocol over mutual TLS."""
