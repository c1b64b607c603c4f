"""Network namespaces behind a software switch, each link limited both ways."""
