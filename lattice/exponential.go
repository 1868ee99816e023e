package main

import (
	"math/big"
	"math/bits"
)

// Exact Bernoulli(exp(−γ)) trials for rational γ ≥ 0. A uniform real is compared with exp(−γ) lazily: its first 63
// bits against a fixed-point value that is known to ±2^-48, which decides all but one in 2^46 trials; the rest are
// decided by interval arithmetic on the exact fraction with as many further bits as it takes. Nothing is cut off.
const (
	gammaBits  = 56                // fixed-point fraction bits of γ
	gammaLimit = 64<<gammaBits - 1 // γ is cut here: exp(−64) is far below the margin
	probUnit   = uint64(1) << 63   // fixed-point 1 of exp(−γ)
	probMargin = uint64(1) << 15   // bound of the fixed-point error, proven in approximate
	digit      = 8                 // bits looked up at once
	guardBits  = 128               // of the exact comparison
	seriesSlop = 1 << 20           // units by which the summed series can be off, see exponentialBounds
)

// exponent is γ: in fixed point, low by less than 5 units of 2^-56 or cut at the limit, and as exact fraction.
type exponent struct {
	fixed                 uint64
	topHigh, topLow       uint64
	bottomHigh, bottomLow uint64
}

// fraction is γ = top/bottom ≤ 1.
func fraction(top, bottom uint64) exponent {
	fixed := uint64(1) << gammaBits
	if top < bottom {
		fixed, _ = bits.Div64(top>>(64-gammaBits), top<<gammaBits, bottom)
	}
	return exponent{fixed: fixed, topLow: top, bottomLow: bottom}
}

// ratio is 1/d, prepared to be multiplied with: R = ⌊2^(length+62) / d⌋ lies in [2^62, 2^63].
type ratio struct {
	high, low  uint64
	reciprocal uint64
	length     int // bit length of d
}

func newRatio(high, low uint64) ratio {
	length := 128 - leadingZeros(high, low)
	power := new(big.Int).Lsh(big.NewInt(1), uint(length+62))
	return ratio{high, low, power.Quo(power, wide(high, low)).Uint64(), length}
}

// times is γ = n/d. With m the leading 64 bits of n, γ·2^56 = m·R·2^(58−zeros−length); m is low by a relative 2^-63,
// R by 2^-62, the upper word of their product, at least 2^61, by 2^-61. Below the limit 2^62 that is under 4 units,
// and one more for the shift.
func (r ratio) times(high, low uint64) exponent {
	result := exponent{topHigh: high, topLow: low, bottomHigh: r.high, bottomLow: r.low}
	zeros := leadingZeros(high, low)
	if zeros == 128 {
		return result
	}
	lead := low << max(0, zeros-64)
	if zeros < 64 {
		lead = high<<zeros | low>>(64-zeros)
	}
	product, _ := bits.Mul64(lead, r.reciprocal)
	result.fixed = gammaLimit
	if shift := zeros + r.length - 122; shift >= 0 {
		result.fixed = min(product>>shift, gammaLimit)
	}
	return result
}

// tables hold exp(−i), exp(−i·2^-8), exp(−i·2^-16) and exp(−i·2^-24), rounded down to units of 2^-63.
var tables = exponentialTables()

func exponentialTables() (result [4][256]uint64) {
	for level := range result {
		for index := range result[level] {
			top, bottom := big.NewInt(int64(index)), new(big.Int).Lsh(big.NewInt(1), uint(digit*level))
			low, _ := exponentialBounds(top, bottom, 63)
			result[level][index] = low.Uint64()
		}
	}
	return result
}

// approximate is exp(−γ) in units of 2^-63, off by less than probMargin: 5·2^7 units from γ, 2^14 from exp(−r) ≈ 1 − r
// with r < 2^-24, two for each of four table entries and one for each product.
func (e *exponent) approximate() uint64 {
	value := tables[0][e.fixed>>gammaBits]
	value = product63(value, tables[1][e.fixed>>(gammaBits-digit)&255])
	value = product63(value, tables[2][e.fixed>>(gammaBits-2*digit)&255])
	value = product63(value, tables[3][e.fixed>>(gammaBits-3*digit)&255])
	rest, _ := bits.Mul64(value, e.fixed<<(64-gammaBits)&(1<<40-1))
	return value - rest
}

func product63(left, right uint64) uint64 {
	high, low := bits.Mul64(left, right)
	return high<<1 | low>>63
}

// bernoulli is true with probability exp(−γ), exactly.
func (s *sampler) bernoulli(e exponent) bool {
	return s.decide(e.approximate(), &e)
}

func (s *sampler) decide(approximate uint64, e *exponent) bool {
	first := s.stream.word()
	uniform := first >> 1
	switch {
	case uniform+probMargin < approximate:
		return true
	case uniform >= approximate+probMargin:
		return false
	}
	return s.decideExactly(first, e)
}

// decideExactly compares the uniform real 0.first… with exp(−γ), 64 bits deeper each time it stays undecided. Unless
// γ = 0, exp(−γ) is irrational, so this ends.
func (s *sampler) decideExactly(first uint64, e *exponent) bool {
	top, bottom := wide(e.topHigh, e.topLow), wide(e.bottomHigh, e.bottomLow)
	if top.Sign() == 0 {
		return true
	}
	uniform := new(big.Int).SetUint64(first)
	for precision := uint(64); ; precision += 64 {
		low, high := exponentialBounds(top, bottom, precision)
		if uniform.Cmp(low) < 0 {
			return true
		}
		if uniform.Cmp(high) >= 0 {
			return false
		}
		uniform.Lsh(uniform, 64).Or(uniform, new(big.Int).SetUint64(s.stream.word()))
	}
}

// exponentialBounds is low ≤ exp(−top/bottom)·2^precision ≤ high, one or two apart. The argument is halved until it is
// below 1, the alternating series summed in fixed point (each of its terms, under 2^10 in number, is off by at most 4
// units), and the result squared as often, with outward rounding.
func exponentialBounds(top, bottom *big.Int, precision uint) (low, high *big.Int) {
	halvings := uint(max(0, top.BitLen()-bottom.BitLen()+1))
	work := precision + guardBits + halvings
	argument := new(big.Int).Lsh(top, work)
	argument.Quo(argument, new(big.Int).Lsh(bottom, halvings))
	sum, term := new(big.Int), new(big.Int).Lsh(big.NewInt(1), work)
	for index := int64(1); term.Sign() != 0; index++ {
		sum.Add(sum, term)
		term.Mul(term, argument).Neg(term)
		term.Quo(term, new(big.Int).Lsh(big.NewInt(index), work))
	}
	low, high = new(big.Int).Sub(sum, big.NewInt(seriesSlop)), new(big.Int).Add(sum, big.NewInt(seriesSlop))
	for range halvings {
		low.Mul(low, low).Rsh(low, work)
		high.Mul(high, high).Rsh(high, work).Add(high, big.NewInt(1))
	}
	low.Rsh(low, work-precision)
	high.Rsh(high, work-precision).Add(high, big.NewInt(1))
	return low, high
}

func wide(high, low uint64) *big.Int {
	value := new(big.Int).SetUint64(high)
	return value.Lsh(value, 64).Or(value, new(big.Int).SetUint64(low))
}

func leadingZeros(high, low uint64) int {
	if high == 0 {
		return 64 + bits.LeadingZeros64(low)
	}
	return bits.LeadingZeros64(high)
}
