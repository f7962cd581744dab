#!/usr/bin/env python3
"""Coefficients for runtime/vecmath.tmpl: weighted minimax polynomials, rounded to float.

Each row of FITS asks for a polynomial p of given degree that minimises, over an interval,
the largest |p(t) - g(t)| * w(t).  The solver is Remez's exchange on a dense Chebyshev grid
in 40-digit arithmetic.  Coefficients are then rounded to float one at a time, lowest power
first (it matters most), and after each rounding the free ones are solved again, so that
they absorb what the rounding took away; last, pairs are nudged while that helps.

Run:  /work/venv/bin/python tools/fit_vecmath.py [NAME...]     (needs mpmath and numpy)
It prints, per fit, the coefficients as C literals and the error left after rounding; the
template holds these numbers.  Not needed to build lathe.
"""
import sys
import mpmath as mp
import numpy as np

mp.mp.dps = 40
GRID = 600


def grid(lo, hi):
    """Chebyshev-spaced points: dense at both ends, where minimax errors are largest."""
    return [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (i + 0.5) / GRID) for i in range(GRID)]


def remez(points, target, weight, powers):
    """Minimax coefficients for sum c_k t^powers[k] on the grid; returns (coefs, max error)."""
    n = len(powers)
    if n == 0:
        return [], max(abs(g * w) for g, w in zip(target, weight))
    refs = [round(i * (GRID - 1) / n) for i in range(n + 1)]
    best = None
    for _ in range(40):
        rows, rhs = [], []
        for sign, i in enumerate(refs):
            rows.append([points[i] ** p for p in powers] + [(-1) ** sign / weight[i]])
            rhs.append(target[i])
        sol = mp.lu_solve(mp.matrix(rows), mp.matrix(rhs))
        coefs, level = list(sol[:n]), abs(sol[n])
        err = [(sum(c * t ** p for c, p in zip(coefs, powers)) - g) * w
               for t, g, w in zip(points, target, weight)]
        peak = max(abs(e) for e in err)
        if best is None or peak < best[1]:
            best = (coefs, peak)
        if peak <= level * mp.mpf("1.0001"):
            break
        # One extremum per run of equal sign; keep the n + 1 neighbours with the largest ends.
        peaks = []
        for i, e in enumerate(err):
            if peaks and (err[peaks[-1]] >= 0) == (e >= 0):
                if abs(e) > abs(err[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(err[peaks[0]]) < abs(err[peaks[-1]]) else -1)
        if len(peaks) < n + 1:
            break
        refs = peaks
    return best


def to_float(x, kind):
    return mp.mpf(float(np.float32(float(x)))) if kind == "float" else mp.mpf(float(x))


def polish(coefs, basis, residual):
    """Moves pairs of float coefficients by up to two steps while the largest error shrinks.
    Updates coefs and residual (the weighted error) in place."""
    error = np.array([float(e) for e in residual])
    columns = {p: np.array([float(v) for v in column]) for p, column in basis.items()}
    moved = True
    while moved:
        moved = False
        best = np.abs(error).max() * (1 - 1e-6)
        steps = {p: float(np.spacing(np.float32(float(coefs[p])))) for p in columns}
        for p in columns:
            for q in columns:
                for i in range(-2, 3):
                    for j in range(-2, 3):
                        tried = error + i * steps[p] * columns[p] + j * steps[q] * columns[q]
                        peak = np.abs(tried).max()
                        if peak < best:
                            best, move, moved = peak, (p, i, q, j), True
        if moved:
            p, i, q, j = move
            error += i * steps[p] * columns[p] + j * steps[q] * columns[q]
            coefs[p] += i * steps[p]
            coefs[q] += j * steps[q]
    residual[:] = [float(e) for e in error]


def fit(name, degree, lo, hi, g, w=lambda t: mp.mpf(1), kind="float", fixed=None, first=0):
    """fixed: {power: value} coefficients given beforehand, exactly as written; first: the lowest power."""
    points = grid(mp.mpf(lo), mp.mpf(hi))
    target = [mp.mpf(g(t)) for t in points]
    weight = [mp.mpf(w(t)) for t in points]
    free = [p for p in range(first, degree + 1) if p not in (fixed or {})]
    done = dict(fixed or {})
    for p, c in done.items():
        target = [g_ - c * t ** p for g_, t in zip(target, points)]
    ideal = remez(points, target, weight, free)[1]
    inside = mp.mpf(lo) < 0 < mp.mpf(hi) and first == 0  # then t, t^2, ... all vanish at 0: 1 must stay free to the end
    while free:
        coefs, _ = remez(points, target, weight, free)
        at = -1 if inside else 0
        p, c = free.pop(at), to_float(coefs[at], kind)
        done[p] = c
        target = [g_ - c * t ** p for g_, t in zip(target, points)]
    if kind == "float":
        residual = [-g_ * w_ for g_, w_ in zip(target, weight)]
        basis = {p: [t ** p * w_ for t, w_ in zip(points, weight)] for p in done if p not in (fixed or {})}
        polish(done, basis, residual)
        left = max(abs(mp.mpf(e)) for e in residual)
    else:
        left = max(abs(g_ * w_) for g_, w_ in zip(target, weight))
    digits, suffix = (9, "f") if kind == "float" else (17, "")
    print(f"{name}: degree {degree} on [{mp.nstr(mp.mpf(lo), 6)}, {mp.nstr(mp.mpf(hi), 6)}], "
          f"error {mp.nstr(ideal, 3)} ideal, {mp.nstr(left, 3)} rounded (2^{mp.nstr(mp.log(left, 2), 4)})")
    print("    " + ", ".join(f"{float(done[p]):.{digits}g}{suffix}" for p in sorted(done)))
    return done


def skip0(g, at0):
    """g with its removable singularity at 0 filled in."""
    return lambda t: at0 if abs(t) < mp.mpf("1e-14") else g(t)


LN2 = mp.log(2)
SQ2 = mp.sqrt(2)


def exp_tail(r):        # (e^r - 1 - r) / r^2
    return (mp.expm1(r) - r) / r ** 2


def log_tail(f):        # (log1p(f) - f + f^2/2) / f^3
    return (mp.log1p(f) - f + f ** 2 / 2) / f ** 3


def erfc_scaled(a):     # Phi(-a) * exp(a^2/2): the normal tail without its Gaussian
    return mp.erfc(a / SQ2) * mp.exp(a ** 2 / 2) / 2


FITS = {}


def row(f):
    FITS[f.__name__] = f
    return f


@row
def exp():
    fit("(e^r - 1 - r)/r^2 over r", 4, -LN2 / 2 * 1.01, LN2 / 2 * 1.01,
        skip0(exp_tail, mp.mpf(1) / 2), lambda r: r ** 2 / mp.exp(r))


@row
def log():
    fit("(log1p(f) - f + f^2/2)/f^3 over f", 8, 1 / SQ2 - 1, SQ2 - 1,
        skip0(log_tail, mp.mpf(1) / 3), lambda f: 1 if f == 0 else f ** 3 / mp.log1p(f))


@row
def tanh():
    tanh = lambda s: (mp.tanh(mp.sqrt(s)) / mp.sqrt(s) - 1) / s
    fit("(tanh(x) - x)/x^3 over x^2", 4, 0, mp.mpf("0.55") ** 2, tanh, lambda s: s / (1 + s * tanh(s)))


@row
def sinh():
    sinh = lambda s: (mp.sinh(mp.sqrt(s)) / mp.sqrt(s) - 1) / s
    fit("(sinh(x) - x)/x^3 over x^2", 2, 0, 1, sinh, lambda s: s / (1 + s * sinh(s)))


@row
def erf():
    split = mp.mpf("0.875")
    small = skip0(lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1, 2 / mp.sqrt(mp.pi) - 1)
    fit("erf(x)/x - 1 over x^2", 5, 0, split ** 2, small, lambda s: 1 / (1 + small(s)))
    fit("log2(erfc(a)) over a", 6, split, "3.95", lambda a: mp.log(mp.erfc(a), 2),
        lambda a: mp.erfc(a) * LN2 / mp.erf(a))
    fit("2^f over f", 5, "-0.5", "0.5", lambda f: mp.mpf(2) ** f,
        lambda f: mp.mpf(2) ** -f)


@row
def gelu():
    phi = lambda a: mp.erfc(a / mp.sqrt(2)) / 2
    fit("log2(Phi(-a)) over a", 12, 0, 7, lambda a: mp.log(phi(a), 2),
        lambda a: 1 / (1 + a ** 3 / 10), fixed={0: mp.mpf(-1)})
    fit("2^f over f, 1 at 0", 6, "-0.5", "0.5", lambda f: mp.mpf(2) ** f,
        lambda f: mp.mpf(2) ** -f, fixed={0: mp.mpf(1)})


@row
def sincos():
    top = (mp.pi / 4 * mp.mpf("1.001")) ** 2
    root = mp.sqrt
    fit("(sin(r) - r)/r^3 over r^2", 2, 0, top,
        skip0(lambda s: (mp.sin(root(s)) - root(s)) / root(s) ** 3, -mp.mpf(1) / 6),
        lambda s: 1 if s == 0 else root(s) ** 3 / mp.sin(root(s)))
    fit("(cos(r) - 1 + r^2/2)/r^4 over r^2", 2, 0, top,
        skip0(lambda s: (mp.cos(root(s)) - 1 + s / 2) / s ** 2, mp.mpf(1) / 24),
        lambda s: s ** 2 / mp.cos(root(s)))


@row
def tan():
    top = (mp.pi / 4 * mp.mpf("1.001")) ** 2
    root = mp.sqrt
    fit("sin(r)/r over r^2", 5, 0, top, skip0(lambda s: mp.sin(root(s)) / root(s), mp.mpf(1)),
        kind="double", fixed={0: mp.mpf(1)})
    fit("cos(r) over r^2", 5, 0, top, lambda s: mp.cos(root(s)), lambda s: 1 / mp.cos(root(s)),
        kind="double", fixed={0: mp.mpf(1)})


@row
def inverse_trig():
    asin = lambda s: (mp.asin(mp.sqrt(s)) / mp.sqrt(s) - 1) / s
    fit("(asin(x) - x)/x^3 over x^2", 5, 0, "0.3165", skip0(asin, mp.mpf(1) / 6),
        lambda s: s / (1 + s * skip0(asin, mp.mpf(1) / 6)(s)))
    atan = lambda s: (mp.atan(mp.sqrt(s)) / mp.sqrt(s) - 1) / s
    fit("(atan(x) - x)/x^3 over x^2", 7, 0, 1, skip0(atan, -mp.mpf(1) / 3),
        lambda s: s / (1 + s * skip0(atan, -mp.mpf(1) / 3)(s)))


@row
def double_lanes():
    top = ((SQ2 - 1) / (SQ2 + 1)) ** 2
    log = lambda z: (mp.log((1 + mp.sqrt(z)) / (1 - mp.sqrt(z))) / mp.sqrt(z) - 2) / z
    fit("(log((1+s)/(1-s)) - 2 s)/s^3 over s^2", 4, 0, top, skip0(log, mp.mpf(2) / 3),
        lambda z: z / 2, kind="double")
    fit("e^r over r", 7, -LN2 / 2 * 1.01, LN2 / 2 * 1.01, mp.exp, lambda r: mp.exp(-r),
        kind="double", fixed={0: mp.mpf(1), 1: mp.mpf(1)})


if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        FITS[name]()
