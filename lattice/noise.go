package main

import (
	"math"
	"math/bits"
)

// The exact discrete Gaussian sampler of Canonne, Kamath and Steinke (2020), Algorithms 1–3, in 64- and 128-bit
// integers. A discrete Laplace proposal Y of scale t = ⌊σ⌋ + 1 is accepted with probability
// exp(−(|Y| − σ²/t)² / 2σ²) = exp(−(|Y|·t − σ²)² / (2σ²t²)); every Bernoulli trial is decided exactly (exponential.go).
const (
	noiseChunk      = 4096
	maximumVariance = 1 << 48
	// A proposal is u + t·v with v geometric; v at or above this limit is drawn with probability e^-4096 and counts as
	// rejected. Below it |Y|·t < 2^62 and its square fits 128 bits, for every allowed variance.
	geometricLimit = 4096
)

// discreteGaussian fills out with independent draws of N_Z(0, variance), a function of key, variance and index alone:
// a longer vector starts with the same values.
func discreteGaussian(key []byte, variance uint64, out []int64) error {
	if len(key) != keySize {
		return argument("a noise stream key has %d bytes", keySize)
	}
	if variance > maximumVariance {
		return argument("variance %d exceeds 2^48", variance)
	}
	if variance == 0 {
		clear(out)
		return nil
	}
	bound := derive(key, "discrete gaussian", number(int(variance)))
	chunks := (len(out) + noiseChunk - 1) / noiseChunk
	return parallel(chunks, func(chunk int) error {
		sampler := newSampler(newStream(bound, chunk), variance)
		part := out[chunk*noiseChunk : min((chunk+1)*noiseChunk, len(out))]
		for index := range part {
			part[index] = sampler.gaussian()
		}
		return nil
	})
}

// sampler draws for one variance from one stream.
type sampler struct {
	stream   *stream
	variance uint64
	scale    uint64 // t = ⌊σ⌋ + 1
	reject   uint64 // 2^64 mod t: Lemire's threshold for uniform draws below t
	gamma    ratio  // 1 / (2σ²t²), to multiply (|Y|·t − σ²)² with
	signs    uint64
	unused   int // bits left in signs
}

func newSampler(source *stream, variance uint64) *sampler {
	scale := floorSqrt(variance) + 1
	return &sampler{
		stream: source, variance: variance, scale: scale, reject: -scale % scale,
		gamma: newRatio(bits.Mul64(2*variance, scale*scale)),
	}
}

func (s *sampler) gaussian() int64 {
	for {
		magnitude, negative := s.laplace()
		distance := difference(magnitude*s.scale, s.variance)
		if s.bernoulli(s.gamma.times(bits.Mul64(distance, distance))) {
			if negative {
				return -int64(magnitude)
			}
			return int64(magnitude)
		}
	}
}

// laplace draws from the discrete Laplace distribution with scale t (their Algorithm 2 with s = 1), as magnitude and
// sign; 0 comes with one sign only.
func (s *sampler) laplace() (uint64, bool) {
	for {
		uniform := s.below()
		if uniform != 0 && !s.bernoulli(fraction(uniform, s.scale)) {
			continue
		}
		magnitude, ok := s.geometric(uniform)
		negative := s.sign()
		if ok && !(negative && magnitude == 0) {
			return magnitude, negative
		}
	}
}

// geometric adds t for every success of a Bernoulli(1/e) trial.
func (s *sampler) geometric(uniform uint64) (uint64, bool) {
	for trials := range uint64(geometricLimit) {
		if !s.decide(oneOverE, &one) {
			return uniform + trials*s.scale, true
		}
	}
	return 0, false
}

var (
	one      = fraction(1, 1)
	oneOverE = one.approximate()
)

// below is uniform in 0 … t−1 (Lemire 2019, exact).
func (s *sampler) below() uint64 {
	for {
		high, low := bits.Mul64(s.stream.word(), s.scale)
		if low >= s.reject {
			return high
		}
	}
}

func (s *sampler) sign() bool {
	if s.unused == 0 {
		s.signs, s.unused = s.stream.word(), 64
	}
	bit := s.signs & 1
	s.signs >>= 1
	s.unused--
	return bit == 1
}

func difference(left, right uint64) uint64 {
	if left > right {
		return left - right
	}
	return right - left
}

// floorSqrt is exact for arguments up to 2^52: the float root is at most one off.
func floorSqrt(value uint64) uint64 {
	root := uint64(math.Sqrt(float64(value)))
	for root*root > value {
		root--
	}
	for (root+1)*(root+1) <= value {
		root++
	}
	return root
}
