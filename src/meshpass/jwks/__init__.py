"""The one fetcher of remote JSON Web Key Sets for the whole mesh. Does IO."""
