"""IR → Envoy: pure builders of xDS resources, and the order in which a running Envoy is switched over. No IO."""
