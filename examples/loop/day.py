"""One day by hand: ask a server about its parcels, then report what became of them.

python day.py 26 --url http://127.0.0.1:8000
"""

import argparse

import world
from client import Client

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("day", type=int, help=f"the number of the day; the world changes after day {world.OLD}")
parser.add_argument("--url", default="http://127.0.0.1:8000", help="the address of the server")
parser.add_argument("--model", default="parcels", help="the name of the model (parcels)")
parser.add_argument("--count", type=int, default=600, help="how many parcels (600)")
options = parser.parse_args()

client = Client(options.url)
parcels, truth = world.parcels(options.day, options.count)
answers = [client.predict(options.model, parcel, str(row)) for row, parcel in enumerate(parcels)]
right = sum(answer == late for (answer, _, _), late in zip(answers, truth, strict=True))
reports = {prediction: late for (_, prediction, _), late in zip(answers, truth, strict=True)}
accepted = client.report(options.model, reports)
print(f"day {options.day}: {right / len(parcels):.2f} right; {accepted} truths accepted")
for failure in client.failures[:5]:
    print(failure)
