import subprocess
import sys

print("Content-Type: text/plain; charset=utf-8")
print()
print("Python %d.%d says:" % sys.version_info[:2], flush=True)
subprocess.run(["uname", "-sm"], check=True)
print("That was uname.")
