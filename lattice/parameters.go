package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/ring"
)

const (
	parameterLabel   = "fedcrm/1/lattice parameters\x00"
	modulusBits      = 60
	minimumLogDegree = 12 // 60 bits are inside the 128-bit security limit from degree 2^12 on
	maximumLogDegree = 14
	maximumHolders   = 32
	maximumDimension = 1 << 24
	minimumWireCount = 64 // so that the check of the decoding error always sees enough coefficients
)

// parameters are the public numbers of a federation's scheme with everything precomputed from them.
type parameters struct {
	digest          [sha256.Size]byte
	rlwe            rlwe.Parameters
	ring            *ring.Ring
	sub             *ring.SubRing
	degree          int
	modulus         uint64
	plaintextBits   uint
	scaleInverse    uint64 // T⁻¹ mod Q in Montgomery form
	scale           uint64 // T mod Q in Montgomery form
	holderNoise     ring.DiscreteGaussian
	encryptionNoise ring.DiscreteGaussian
}

var (
	parameterLock  sync.Mutex
	parameterCache = map[string]*parameters{}
)

// readParameters parses the canonical bytes (label, log degree, plaintext bits, holder noise bits, modulus) that the
// parameter digest is taken of. The few parameter sets of a process are kept: their NTT tables take a while to build.
func readParameters(canonical []byte) (*parameters, error) {
	parameterLock.Lock()
	defer parameterLock.Unlock()
	if known, ok := parameterCache[string(canonical)]; ok {
		return known, nil
	}
	p, err := newParameters(canonical)
	if err != nil {
		return nil, err
	}
	if len(parameterCache) >= 8 {
		clear(parameterCache)
	}
	parameterCache[string(canonical)] = p
	return p, nil
}

func newParameters(canonical []byte) (*parameters, error) {
	rest, found := bytes.CutPrefix(canonical, []byte(parameterLabel))
	if !found || len(rest) != 11 {
		return nil, argument("these are not parameters of this version")
	}
	logDegree, plaintextBits, noiseBits := int(rest[0]), uint(rest[1]), uint(rest[2])
	modulus := binary.LittleEndian.Uint64(rest[3:])
	if logDegree < minimumLogDegree || logDegree > maximumLogDegree {
		return nil, argument("log degree %d is not in %d … %d", logDegree, minimumLogDegree, maximumLogDegree)
	}
	if modulus>>(modulusBits-1) != 1 {
		return nil, argument("the modulus has not %d bits", modulusBits)
	}
	if plaintextBits < 8 || plaintextBits > 48 || noiseBits > 28 {
		return nil, argument("plaintext bits %d or holder noise bits %d out of range", plaintextBits, noiseBits)
	}
	literal := rlwe.ParametersLiteral{LogN: logDegree, Q: []uint64{modulus}, NTTFlag: true}
	inner, err := rlwe.NewParametersFromLiteral(literal)
	if err != nil {
		return nil, argument("modulus and degree do not fit: %v", err)
	}
	return precompute(canonical, inner, plaintextBits, noiseBits), nil
}

func precompute(canonical []byte, inner rlwe.Parameters, plaintextBits, noiseBits uint) *parameters {
	ringQ := inner.RingQ()
	sub := ringQ.SubRings[0]
	q := sub.Modulus
	inverse := ring.ModExp(uint64(1)<<plaintextBits, q-2, q)
	sigma := float64(uint64(1) << noiseBits)
	return &parameters{
		digest:          sha256.Sum256(canonical),
		rlwe:            inner,
		ring:            ringQ,
		sub:             sub,
		degree:          inner.N(),
		modulus:         q,
		plaintextBits:   plaintextBits,
		scale:           ring.MForm(uint64(1)<<plaintextBits, q, sub.BRedConstant),
		scaleInverse:    ring.MForm(inverse, q, sub.BRedConstant),
		holderNoise:     ring.DiscreteGaussian{Sigma: sigma, Bound: 6 * sigma},
		encryptionNoise: rlwe.DefaultXe,
	}
}

// blocks is the number of ring elements that carry a vector of this dimension.
func (p *parameters) blocks(dimension int) int {
	return (wireCount(dimension) + p.degree - 1) / p.degree
}

// wireCount is the number of coefficients on the wire: the last block's tail is cut, but never below the minimum.
func wireCount(dimension int) int {
	return max(dimension, minimumWireCount)
}
