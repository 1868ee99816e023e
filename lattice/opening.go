package main

import (
	"fmt"
	"slices"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/multiparty"
	"github.com/tuneinsight/lattigo/v6/ring"
)

// statement is what one holder's opening share answers, apart from S, to which the mask and noise keys are bound.
type statement struct {
	release   release
	point     int
	active    []int          // A, ascending
	masks     map[int][]byte // pair key with every other point of A
	noise     []byte
	dimension int
}

// checkActive refuses what Lattigo's Combiner silently gets wrong: an own point outside A, doubled points, and the
// points 0 and Q, whose share is the key itself. |A| is the threshold; every other member of A must share a mask.
func (s *statement) checkActive() error {
	if len(s.active) < 1 || len(s.active) > maximumHolders || !slices.Contains(s.active, s.point) {
		return argument("holder %d is not in the active set of %d", s.point, len(s.active))
	}
	for index, point := range s.active {
		if point < 1 || point > maximumHolders || (index > 0 && point <= s.active[index-1]) {
			return argument("the active set is not an ascending list of points 1 … %d", maximumHolders)
		}
		if point != s.point && len(s.masks[point]) != keySize {
			return argument("the mask key with holder %d has not %d bytes", point, keySize)
		}
	}
	if len(s.masks) != len(s.active)-1 || len(s.noise) != keySize {
		return argument("one mask key for each other holder and one %d-byte noise key are needed", keySize)
	}
	return nil
}

// bound derives a key that serves this statement alone, even if the caller's key was used for another one.
func (s *statement) bound(key []byte, label string, p *parameters) []byte {
	parts := [][]byte{p.digest[:], s.release.id, s.release.descriptor, number(s.dimension)}
	for _, point := range s.active {
		parts = append(parts, number(point))
	}
	return derive(key, label, parts...)
}

// open writes λ·(Σ s)·a + noise + masks for every block.
func (p *parameters) open(shareSum []byte, s *statement, out []byte) error {
	size, err := p.objectSize(kindOpeningShare, s.dimension)
	if err != nil {
		return err
	}
	if len(out) != size {
		return argument("%d bytes do not hold this opening share", len(out))
	}
	if err = s.checkActive(); err != nil {
		return err
	}
	key, err := p.additiveShare(shareSum, s)
	if err != nil {
		return err
	}
	masks := map[int][]byte{}
	for point, key := range s.masks {
		masks[point] = s.bound(key, "mask", p)
	}
	noise := s.bound(s.noise, "holder noise", p)
	p.writeHeader(out, kindOpeningShare, s.dimension)
	return parallel(p.blocks(s.dimension), func(block int) error {
		packed, count := p.blockRange(out[headerSize:], block, s.dimension)
		share := p.openBlock(key, s.release, block, newStream(noise, block))[:count]
		for _, point := range s.active {
			if point != s.point {
				p.addMask(share, newStream(masks[point], block), point > s.point)
			}
		}
		return pack(packed, share, p.modulus)
	})
}

// additiveShare is λ_j·Σ s_{i,j} in NTT and Montgomery form.
func (p *parameters) additiveShare(shareSum []byte, s *statement) (*rlwe.SecretKey, error) {
	value, err := p.readKey(shareSum, kindShareSum)
	if err != nil {
		return nil, err
	}
	points := make([]multiparty.ShamirPublicPoint, len(s.active))
	for index, point := range s.active {
		points[index] = multiparty.ShamirPublicPoint(point)
	}
	own, key := multiparty.ShamirPublicPoint(s.point), rlwe.NewSecretKey(p.rlwe)
	combiner := multiparty.NewCombiner(p.rlwe, own, points, len(points))
	err = combiner.GenAdditiveShare(points, own, multiparty.ShamirSecretShare{Poly: value}, key)
	return key, err
}

// openBlock is one holder's product with the public element plus its noise, without masks.
func (p *parameters) openBlock(key *rlwe.SecretKey, r release, block int, noise *stream) []uint64 {
	product := p.ring.NewPoly()
	p.publicElement(r, block, product.Coeffs[0])
	p.ring.MulCoeffsMontgomery(product, key.Value.Q, product)
	p.ring.INTT(product, product)
	ring.NewGaussianSampler(noise, p.ring, p.holderNoise, false).ReadAndAdd(product)
	return product.Coeffs[0]
}

// addMask adds the pair's mask on the lower point's side and subtracts it on the higher one's.
func (p *parameters) addMask(share []uint64, mask *stream, lower bool) {
	q, values := p.modulus, make([]uint64, len(share))
	mask.uniform(values, q)
	for index, value := range values {
		if lower {
			share[index] = ring.CRed(share[index]+value, q)
		} else {
			share[index] = ring.CRed(share[index]+q-value, q)
		}
	}
}

// combine adds the opening shares to the ciphertext sum and decodes values in (−T/2, T/2]. It fails when a decoding
// error exceeds the bound that honest contributions and shares keep; otherwise the values are exact.
func (p *parameters) combine(ciphertext []byte, shares [][]byte, dimension int, bound int64, out []int64) error {
	if len(out) != dimension || len(shares) == 0 || bound < 0 || bound >= int64(p.modulus>>(p.plaintextBits+1)) {
		return argument("%d values, %d shares or bound %d out of range", len(out), len(shares), bound)
	}
	payloads := make([][]byte, len(shares)+1)
	var err error
	if payloads[0], err = p.payload(ciphertext, kindCiphertext, dimension); err != nil {
		return err
	}
	for index, share := range shares {
		if payloads[index+1], err = p.payload(share, kindOpeningShare, dimension); err != nil {
			return err
		}
	}
	outside := make([]int, p.blocks(dimension))
	err = parallel(len(outside), func(block int) error {
		_, count := p.blockRange(payloads[0], block, dimension)
		sum, err := p.sumBlock(payloads, block, dimension, count)
		if err == nil {
			into := out[min(block*p.degree, dimension):min((block+1)*p.degree, dimension)]
			outside[block] = p.decode(sum, bound, into)
		}
		return err
	})
	if err != nil {
		return err
	}
	return boundFailure(outside, dimension, out)
}

// decode multiplies by T, splits x + T·e, and returns how many errors e are out of bounds.
func (p *parameters) decode(sum []uint64, bound int64, into []int64) (outside int) {
	q, mask, half := p.modulus, int64(1)<<p.plaintextBits-1, int64(1)<<(p.plaintextBits-1)
	for index, value := range sum {
		centred := int64(ring.MRed(value, p.scale, q, p.sub.MRedConstant))
		if uint64(centred) > q/2 {
			centred -= int64(q)
		}
		plain := centred & mask
		if plain > half {
			plain -= mask + 1
		}
		if e := (centred - plain) >> p.plaintextBits; e > bound || e < -bound {
			outside++
		}
		if index < len(into) {
			into[index] = plain
		}
	}
	return outside
}

func boundFailure(outside []int, dimension int, out []int64) error {
	total := 0
	for _, count := range outside {
		total += count
	}
	if total == 0 {
		return nil
	}
	clear(out)
	checked := wireCount(dimension)
	return &failure{statusNoise, fmt.Sprintf("%d of %d coefficients have a decoding error out of bounds", total, checked)}
}
