"""Local web pages: served to this machine alone, made on the server, without anything to build or to fetch."""
