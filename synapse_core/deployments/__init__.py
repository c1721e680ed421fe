"""Models deployed on Ray Serve: rolled out, listed, called, deleted.

Importing this imports nothing: Serve imports it on the cluster for each version, to find the builder.
"""
