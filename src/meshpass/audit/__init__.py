"""Decision records: what the proxies report of each request, kept, shown and counted. Does IO."""
