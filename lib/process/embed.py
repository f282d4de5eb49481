# usage: embed.py PROGRAM OUTPUT     writes the bytes of a file as string literals of C++
import sys

LINE = 32

with open(sys.argv[1], "rb") as program:
    data = program.read()
with open(sys.argv[2], "w", encoding="ascii") as out:
    for at in range(0, len(data), LINE):
        out.write('"' + "".join(f"\\{byte:03o}" for byte in data[at : at + LINE]) + '"\n')
