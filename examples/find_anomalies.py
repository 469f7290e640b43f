"""Find rows that do not belong among known tumours: learn, flag, say why, keep the detector, judge new rows.

python examples/find_anomalies.py
"""

from __future__ import annotations

from sklearn.datasets import load_breast_cancer

import isthmus as ist

cells = load_breast_cancer(as_frame=True)
table, benign = cells.data, cells.target == 1
known, new = table[benign][:250], table[~benign][:50]

detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(known)  # novelty: all of these are normal
print(detector.cut_.sentence)

# Rows of another kind, row by row: each against the threshold that was fixed at fit.
print(f"{(detector.predict(new) == -1).mean():.0%} of the malignant ones are flagged,")
print(f"{(detector.predict(table[benign][250:]) == -1).mean():.0%} of benign ones that were not learned from.")

# A batch: at most a tenth of what is flagged is expected to be flagged wrongly.
batch = table.drop(known.index)
flagged = detector.detect(batch, fdr=0.1)
print(
    f"{flagged.sum()} of a batch of {len(batch)} are flagged, {benign[batch.index][flagged].mean():.0%} of them benign."
)

# Why the oddest are odd, and a page that shows it.
findings = detector.findings(batch)
for place in findings.order[:3]:
    print(
        f"{findings.label(place)}, p = {findings.p_values[place]:.2g}:",
        *map(str, findings.reasons[place]),
        sep="\n    ",
    )
detector.report(batch).save("anomalies.html")

detector.save("tumours")
assert (ist.load("tumours").predict(new) == detector.predict(new)).all()
