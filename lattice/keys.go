package main

import (
	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/multiparty"
	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/ring/ringqp"
	"github.com/tuneinsight/lattigo/v6/utils/structs"
)

// participantKey is the ternary key of one epoch in NTT and Montgomery form, a PRF of the epoch secret.
func (p *parameters) participantKey(secret []byte) (*rlwe.SecretKey, error) {
	if len(secret) < keySize {
		return nil, argument("an epoch secret has at least %d bytes", keySize)
	}
	source := newStream(derive(secret, "participant key", p.digest[:]), 0)
	sampler, err := ring.NewSampler(source, p.ring, rlwe.DefaultXs, false)
	if err != nil {
		return nil, err
	}
	key := rlwe.NewSecretKey(p.rlwe)
	sampler.Read(key.Value.Q)
	p.ring.NTT(key.Value.Q, key.Value.Q)
	p.ring.MForm(key.Value.Q, key.Value.Q)
	return key, nil
}

// deal writes one Shamir share of the participant key for each of the points 1 … holders, one object after the other.
// The polynomial is a PRF of the epoch secret, threshold and holders, so that a repeated step repeats its bytes.
func (p *parameters) deal(secret []byte, threshold, holders int, out []byte) error {
	if threshold < 1 || threshold > holders || holders > maximumHolders {
		return argument("threshold %d of %d holders is not possible (at most %d)", threshold, holders, maximumHolders)
	}
	size, err := p.objectSize(kindKeyShare, p.degree)
	if err != nil {
		return err
	}
	if len(out) != holders*size {
		return argument("%d bytes do not hold %d key shares", len(out), holders)
	}
	key, err := p.participantKey(secret)
	if err != nil {
		return err
	}
	polynomial := p.shamirPolynomial(secret, key, threshold, holders)
	dealer := multiparty.NewThresholdizer(p.rlwe)
	return parallel(holders, func(index int) error {
		share := dealer.AllocateThresholdSecretShare()
		dealer.GenShamirSecretShare(multiparty.ShamirPublicPoint(index+1), polynomial, &share)
		object := out[index*size : (index+1)*size]
		p.writeHeader(object, kindKeyShare, p.degree)
		return pack(object[headerSize:], share.Q.Coeffs[0], p.modulus)
	})
}

func (p *parameters) shamirPolynomial(
	secret []byte, key *rlwe.SecretKey, threshold, holders int,
) multiparty.ShamirPolynomial {
	seed := derive(secret, "shamir polynomial", p.digest[:], number(threshold), number(holders))
	value := structs.Vector[ringqp.Poly]{key.Value}
	for index := 1; index < threshold; index++ {
		coefficient := rlwe.NewSecretKey(p.rlwe).Value
		newStream(seed, index).uniform(coefficient.Q.Coeffs[0], p.modulus)
		value = append(value, coefficient)
	}
	return multiparty.ShamirPolynomial{Value: value}
}

// add sums objects of one kind and dimension: ciphertexts of a release, or a holder's key shares of the dealers in S.
func (p *parameters) add(objects [][]byte, from, to kind, dimension int, out []byte) error {
	size, err := p.objectSize(to, dimension)
	if err != nil {
		return err
	}
	if len(out) != size || len(objects) == 0 {
		return argument("%d objects and %d bytes for their sum", len(objects), len(out))
	}
	payloads := make([][]byte, len(objects))
	for index, object := range objects {
		if payloads[index], err = p.payload(object, from, dimension); err != nil {
			return err
		}
	}
	p.writeHeader(out, to, dimension)
	return parallel(p.blocks(dimension), func(block int) error {
		packed, count := p.blockRange(out[headerSize:], block, dimension)
		sum, err := p.sumBlock(payloads, block, dimension, count)
		if err != nil {
			return err
		}
		return pack(packed, sum, p.modulus)
	})
}

// sumBlock unpacks and adds one block of several payloads, fully reduced.
func (p *parameters) sumBlock(payloads [][]byte, block, dimension, count int) ([]uint64, error) {
	sum, next := make([]uint64, count), make([]uint64, count)
	for _, payload := range payloads {
		packed, _ := p.blockRange(payload, block, dimension)
		if err := unpack(next, packed, p.modulus); err != nil {
			return nil, err
		}
		for index, value := range next {
			sum[index] = ring.CRed(sum[index]+value, p.modulus)
		}
	}
	return sum, nil
}

// readKey unpacks key material into a ring element.
func (p *parameters) readKey(object []byte, k kind) (ringqp.Poly, error) {
	value := rlwe.NewSecretKey(p.rlwe).Value
	payload, err := p.payload(object, k, p.degree)
	if err == nil {
		err = unpack(value.Q.Coeffs[0], payload, p.modulus)
	}
	return value, err
}
