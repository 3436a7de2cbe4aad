"""Who is who: server certificates and bearer tokens. Keys and tokens are files of mode 0600. Does file IO."""
