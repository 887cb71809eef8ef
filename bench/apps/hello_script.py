"""The smallest CGI script."""

print("Content-Type: text/plain\nContent-Length: 6\n\nhello")
