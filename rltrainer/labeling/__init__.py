"""The label service: wire messages, session, gate, clip replay and encoding, and the server that ties them to sockets."""
