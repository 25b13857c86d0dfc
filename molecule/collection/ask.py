"""Print what the edge at an address answers at /health: python ask.py CA-FILE ADDRESS. Its certificate is for localhost."""

import http.client
import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[1])
connection = http.client.HTTPSConnection("localhost", 8443, context=context)
connection.sock = context.wrap_socket(socket.create_connection((sys.argv[2], 8443), 10), server_hostname="localhost")
connection.request("GET", "/health")
response = connection.getresponse()
print(response.read().decode())
sys.exit(response.status != 200)
