#!/usr/bin/env python3
"""Murphy's counterfactual by sampling, with numpy: what bench/explain measures the engines of Weir beside.

Reads a case from the folder that bench/explain wrote it to and prints a JSON line with the seconds that ranking took
(reading not counted) and the ranking. The same method with the same settings as src/reason/explain/murphy.h: ridge
conditionals on the features that correlate best, rounds of resampling along the shortest paths, Welch's t-test. One
array operation serves all samples; what is left to Python is the loop over metrics.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np

MOVED_BY = 2.0
OUT_OF_USUAL = 1.5
SIGNIFICANCE = 0.01
FEWEST_VALUES = 8


class Case:
    def __init__(self, folder: Path):
        about = json.loads((folder / "case.json").read_text())
        shape = (len(about["entity_of"]), about["rows"])
        self.values = np.fromfile(folder / "values.f32", dtype=np.float32).reshape(shape).astype(np.float64)
        self.first = about["onset"]
        self.entity_of = about["entity_of"]
        self.causes = about["causes"]
        self.symptom = about["symptom"]
        self.way = about["way"]
        self.centre = np.array(about["centre"])
        self.scale = np.array(about["scale"])
        self.settings = about["settings"]
        self.metrics_of = [[] for _ in self.causes]
        for metric, entity in enumerate(self.entity_of):
            self.metrics_of[entity].append(metric)
        self.effects = [[] for _ in self.causes]
        for entity, causes in enumerate(self.causes):
            for cause in causes:
                self.effects[cause].append(entity)


class Murphy:
    def __init__(self, case: Case):
        self.case = case
        self.rng = np.random.default_rng(1)
        measured = np.isfinite(case.values)
        self.count = measured.sum(axis=1)
        known = np.where(measured, case.values, 0.0)
        self.mean = known.sum(axis=1) / np.maximum(self.count, 1)
        away = np.where(measured, case.values - self.mean[:, None], 0.0)
        self.sd = np.sqrt((away**2).sum(axis=1) / np.maximum(self.count, 1))
        self.sd[self.sd <= 1e-6 * np.abs(self.mean)] = 0.0
        self.z = away / np.where(self.sd > 0, self.sd, 1.0)[:, None]
        self.measured = measured
        late = case.values[:, case.first :]
        some = np.isfinite(late).any(axis=1)
        self.observed = np.where(some, np.nansum(late, axis=1) / np.maximum(np.isfinite(late).sum(axis=1), 1), case.centre)
        self.conditionals = {}

    def conditional(self, metric):
        """(features, coefficients, intercept, residual sd) in the metrics' own units."""
        if metric not in self.conditionals:
            self.conditionals[metric] = self.learn(metric)
        return self.conditionals[metric]

    def learn(self, metric):
        case = self.case
        candidates = [
            m
            for cause in case.causes[case.entity_of[metric]]
            for m in case.metrics_of[cause]
            if self.sd[m] > 0 and self.count[m] >= FEWEST_VALUES
        ]
        if not candidates or self.sd[metric] == 0 or self.count[metric] < FEWEST_VALUES:
            return [], np.zeros(0), self.mean[metric], self.sd[metric]
        candidates = np.array(candidates)
        target = self.z[metric]
        correlation = np.abs(self.z[candidates] @ target) / np.sqrt(self.count[candidates] * self.count[metric])
        best = candidates[np.argsort(-correlation, kind="stable")[: case.settings["features"]]]
        rows = self.measured[metric]
        x = self.z[best][:, rows]
        shift = x.mean(axis=1)
        x = x - shift[:, None]
        y = target[rows]
        gram = x @ x.T / len(y) + case.settings["ridge"] * np.eye(len(best))
        solved = np.linalg.solve(gram, x @ y / len(y))
        residual = y - solved @ x
        freedom = max(1, len(y) - len(best) - 1)
        coefficients = solved * self.sd[metric] / self.sd[best]
        intercept = self.mean[metric] - coefficients @ (self.mean[best] + shift * self.sd[best])
        return list(best), coefficients, intercept, self.sd[metric] * math.sqrt((residual**2).sum() / freedom)

    def distances(self, follow):
        start = self.case.entity_of[self.case.symptom]
        distance = {start: 0}
        queue = [start]
        for entity in queue:
            for cause in self.case.causes[entity]:
                if cause not in distance and follow(cause):
                    distance[cause] = distance[entity] + 1
                    queue.append(cause)
        return distance

    def anomaly(self, entity):
        away = [abs(self.observed[m] - self.case.centre[m]) / self.case.scale[m] for m in self.case.metrics_of[entity]]
        return max(away, default=0.0)

    def path(self, candidate, distance):
        order, level = [], [candidate]
        while distance[level[0]] > 0:
            level = sorted({e for entity in level for e in self.case.effects[entity] if distance.get(e, -9) + 1 == distance[entity]})
            order += level
        return order

    def arm(self, order, held):
        samples = self.case.settings["samples"]
        state = dict(held)
        for _ in range(self.case.settings["rounds"]):
            for metric in order:
                features, coefficients, intercept, sd = self.conditional(metric)
                drawn = intercept + sd * self.rng.standard_normal(samples)
                for feature, coefficient in zip(features, coefficients):
                    drawn += coefficient * state.get(feature, self.observed[feature])
                state[metric] = drawn
        return state[self.case.symptom]

    def better(self, candidate, distance):
        case = self.case
        order = [m for e in self.path(candidate, distance) for m in case.metrics_of[e] if m != case.symptom] + [case.symptom]
        moved = {}
        for metric in case.metrics_of[candidate]:
            away = self.observed[metric] - case.centre[metric]
            moved[metric] = self.observed[metric] - math.copysign(min(abs(away), MOVED_BY * case.scale[metric]), away)
        factual = self.arm(order, {m: self.observed[m] for m in moved})
        counterfactual = self.arm(order, moved)
        n = case.settings["samples"]
        error = math.sqrt(factual.var(ddof=1) / n + counterfactual.var(ddof=1) / n)
        t = (-1 if case.way < 0 else 1) * (factual.mean() - counterfactual.mean()) / max(error, 1e-300)
        return 0.5 * math.erfc(t / math.sqrt(2)) < SIGNIFICANCE

    def rank(self):
        everything = self.distances(lambda entity: True)
        reached = self.distances(lambda entity: self.anomaly(entity) >= OUT_OF_USUAL)
        suspects = [e for e, d in reached.items() if d > 0 and self.better(e, everything)]
        return sorted(suspects, key=lambda e: (-self.anomaly(e), e))


def main():
    case = Case(Path(sys.argv[1]))
    start = time.perf_counter()
    ranking = Murphy(case).rank()
    print(json.dumps({"seconds": time.perf_counter() - start, "ranking": [int(e) for e in ranking]}))


if __name__ == "__main__":
    main()
