package main

import (
	"math"
	"math/big"
	"math/rand"
	"slices"
	"testing"
)

func exponents(count int) []exponent {
	source := rand.New(rand.NewSource(5))
	result := []exponent{fraction(1, 1), fraction(0, 1), fraction(1, 1<<25), fraction(1<<25-1, 1<<25)}
	for range count {
		variance := uint64(1) << source.Intn(49)
		variance -= uint64(source.Int63n(int64(variance)))
		s := newSampler(newStream(make([]byte, 32), 0), variance)
		magnitude := uint64(source.ExpFloat64() * float64(s.scale) * 2)
		distance := difference(magnitude*s.scale, variance)
		high, low := mul(distance, distance)
		result = append(result, s.gamma.times(high, low), fraction(uint64(source.Int63n(int64(s.scale))), s.scale))
	}
	return result
}

func mul(left, right uint64) (uint64, uint64) {
	product := new(big.Int).Mul(new(big.Int).SetUint64(left), new(big.Int).SetUint64(right))
	low := new(big.Int).And(product, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
	return product.Rsh(product, 64).Uint64(), low
}

// The fixed-point exp(−γ) stays inside its proven margin of the exact one.
func TestApproximationStaysInsideItsMargin(t *testing.T) {
	for _, e := range exponents(3000) {
		low, high := exponentialBounds(wide(e.topHigh, e.topLow), wide(e.bottomHigh, e.bottomLow), 63)
		approximate := new(big.Int).SetUint64(e.approximate())
		if low.Sub(approximate, low).CmpAbs(big.NewInt(int64(probMargin)-2)) >= 0 ||
			high.Sub(approximate, high).CmpAbs(big.NewInt(int64(probMargin)-2)) >= 0 {
			t.Fatalf("%+v is off by %v", e, low)
		}
	}
}

// The bounds enclose exp(−γ), are at most two apart, and agree with each other at every depth.
func TestExponentialBoundsEnclose(t *testing.T) {
	for _, e := range exponents(300) {
		top, bottom := wide(e.topHigh, e.topLow), wide(e.bottomHigh, e.bottomLow)
		low, high := exponentialBounds(top, bottom, 64)
		deepLow, deepHigh := exponentialBounds(top, bottom, 256)
		gamma, _ := new(big.Rat).SetFrac(top, bottom).Float64()
		middle, _ := new(big.Float).SetInt(deepLow).Float64()
		if math.Abs(middle*math.Exp2(-256)-math.Exp(-gamma)) > 1e-14 {
			t.Fatalf("exp(−%g) is not %g", gamma, middle*math.Exp2(-256))
		}
		if new(big.Int).Sub(high, low).Cmp(big.NewInt(2)) > 0 || new(big.Int).Sub(deepHigh, deepLow).Cmp(big.NewInt(2)) > 0 {
			t.Fatal("bounds are too far apart")
		}
		if low.Lsh(low, 192).Cmp(deepLow) > 0 || high.Lsh(high, 192).Cmp(deepHigh) < 0 {
			t.Fatal("a deeper look leaves the bounds")
		}
	}
}

// The quick decision is the exact one, next to the boundary as well; where it does not decide, more bits do.
func TestQuickDecisionsAreExact(t *testing.T) {
	exact := &sampler{stream: newStream(make([]byte, 32), 0)}
	for _, e := range exponents(1500) {
		approximate := e.approximate()
		for _, offset := range []int64{-1 << 40, -int64(probMargin) - 1, int64(probMargin), 1 << 40} {
			uniform := approximate + uint64(offset)
			if uniform >= probUnit {
				continue
			}
			if quick := offset < 0; exact.decideExactly(uniform<<1, &e) != quick || exact.decideExactly(uniform<<1|1, &e) != quick {
				t.Fatalf("%+v at offset %d is decided the other way", e, offset)
			}
		}
		for range 4 {
			exact.decideExactly(approximate<<1, &e) // undecided at 64 bits more often than not: must end
		}
	}
}

// Frequencies follow the exact probabilities for small variances (chi-square at a level of about 10^-9).
func TestFrequenciesFollowTheExactProbabilities(t *testing.T) {
	for _, variance := range []uint64{1, 2, 7, 50} {
		draws := make([]int64, 400_000)
		if err := discreteGaussian(publicHash("test", number(int(variance))), variance, draws); err != nil {
			t.Fatal(err)
		}
		counts, norm := map[int64]float64{}, 0.0
		for _, value := range draws {
			counts[value]++
		}
		weight := func(x int64) float64 { return math.Exp(-float64(x*x) / (2 * float64(variance))) }
		for x := int64(-200); x <= 200; x++ {
			norm += weight(x)
		}
		chi, cells, rest, seen := 0.0, 0.0, float64(len(draws)), 0.0
		for x := int64(-200); x <= 200; x++ {
			if expected := weight(x) / norm * float64(len(draws)); expected >= 10 {
				chi += (counts[x] - expected) * (counts[x] - expected) / expected
				cells, rest, seen = cells+1, rest-expected, seen+counts[x]
			}
		}
		tail := float64(len(draws)) - seen
		if chi > cells+6*math.Sqrt(2*cells)+20 || math.Abs(tail-rest) > 6*math.Sqrt(rest+1)+6 {
			t.Errorf("variance %d: chi-square %.1f over %.0f cells, tail %.0f for %.1f", variance, chi, cells, tail, rest)
		}
	}
}

// At every allowed size of variance, the extreme one included, mean and variance are right and nothing overflows.
func TestMomentsAtExtremeVariances(t *testing.T) {
	for _, variance := range []uint64{1, 3, 1 << 20, 1<<40 + 12345, maximumVariance - 1, maximumVariance} {
		draws := make([]int64, 200_000)
		if err := discreteGaussian(publicHash("moments", number(int(variance))), variance, draws); err != nil {
			t.Fatal(err)
		}
		mean, square, n, sd := 0.0, 0.0, float64(len(draws)), math.Sqrt(float64(variance))
		for _, value := range draws {
			z := float64(value) / sd
			mean, square = mean+z/n, square+z*z/n
		}
		if math.Abs(mean) > 6/math.Sqrt(n) || math.Abs(square-1) > 6*math.Sqrt(2/n) {
			t.Errorf("variance %d: mean %.4f, variance %.4f in standard units", variance, mean, square)
		}
	}
}

// A proposal as large as the limit allows stays inside 128 bits and is decided.
func TestLargestProposalDoesNotOverflow(t *testing.T) {
	s := newSampler(newStream(make([]byte, 32), 0), maximumVariance)
	largest := s.scale - 1 + (geometricLimit-1)*s.scale
	product := new(big.Int).Mul(new(big.Int).SetUint64(largest), new(big.Int).SetUint64(s.scale))
	if !product.IsUint64() || product.Uint64() != largest*s.scale {
		t.Fatal("|Y|·t overflows")
	}
	distance := difference(largest*s.scale, s.variance)
	high, low := mul(distance, distance)
	if e := s.gamma.times(high, low); e.fixed != gammaLimit || s.decideExactly(0, &e) && s.decideExactly(1, &e) {
		t.Error("a proposal with probability e^-8000000 was taken")
	}
}

// The noise is a function of key, variance and place: repeated alike, a longer vector starts alike, others differ.
func TestNoiseIsAFunctionOfItsKey(t *testing.T) {
	draw := func(key byte, variance uint64, size int) []int64 {
		out := make([]int64, size)
		_ = discreteGaussian(slices.Repeat([]byte{key}, 32), variance, out)
		return out
	}
	if !slices.Equal(draw(1, 1000, 9000), draw(1, 1000, 20_000)[:9000]) {
		t.Error("a longer vector starts otherwise")
	}
	if slices.Equal(draw(1, 1000, 50), draw(2, 1000, 50)) || slices.Equal(draw(1, 1000, 50), draw(1, 1001, 50)) {
		t.Error("another key or variance gives the same noise")
	}
	if !slices.Equal(draw(1, 0, 50), make([]int64, 50)) {
		t.Error("variance 0 is not zero")
	}
}

// Streams of one key and different index do not meet, and uniform values lie below the modulus.
func TestStreamsAreSeparate(t *testing.T) {
	key := make([]byte, 32)
	first, second := newStream(key, 0).word(), newStream(key, 1).word()
	if first == second || first != newStream(key, 0).word() {
		t.Error("streams are not functions of key and index")
	}
	sum, values := 0.0, make([]uint64, 50_000)
	newStream(key, 2).uniform(values, 1<<59+1)
	for _, value := range values {
		if value > 1<<59 {
			t.Fatal("not below the modulus")
		}
		sum += float64(value) / (1 << 59) / 50_000
	}
	if math.Abs(sum-0.5) > 0.01 {
		t.Errorf("mean %g", sum)
	}
}

func BenchmarkNoise(b *testing.B) {
	out := make([]int64, 1<<16)
	for b.Loop() {
		_ = discreteGaussian(make([]byte, 32), 1<<40, out)
	}
}
