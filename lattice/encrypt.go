package main

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/ring"
)

// release names what is summed: 32 bytes each, so that their concatenation is unambiguous in every hash.
type release struct {
	id, descriptor []byte
}

func newRelease(id, descriptor []byte) (release, error) {
	if len(id) != sha256.Size || len(descriptor) != sha256.Size {
		return release{}, argument("release id and descriptor digest have %d bytes each", sha256.Size)
	}
	return release{id, descriptor}, nil
}

// publicElement writes a_b = H(parameters, release id, descriptor digest, b) into the slice, in the NTT domain (a
// uniform element is uniform in either). The 32-byte hash keys AES-256-CTR: a random oracle in the ideal-cipher model.
func (p *parameters) publicElement(r release, block int, into []uint64) {
	key := publicHash("public element", p.digest[:], r.id, r.descriptor, number(block))
	newStream(key, 0).uniform(into, p.modulus)
}

// encrypt writes −a·s + e + T⁻¹·x for every block of the plaintext x, whose values lie in (−T/2, T/2].
// Errors are a PRF of the epoch secret over the release and the plaintext, so a repeated step repeats its bytes.
func (p *parameters) encrypt(secret []byte, r release, plaintext []int64, out []byte) error {
	dimension := len(plaintext)
	size, err := p.objectSize(kindCiphertext, dimension)
	if err != nil {
		return err
	}
	if len(out) != size {
		return argument("%d bytes do not hold this ciphertext", len(out))
	}
	if err = p.checkPlaintext(plaintext); err != nil {
		return err
	}
	key, err := p.participantKey(secret)
	if err != nil {
		return err
	}
	seed := derive(secret, "encryption error", p.digest[:], r.id, r.descriptor, plaintextDigest(plaintext))
	p.writeHeader(out, kindCiphertext, dimension)
	return parallel(p.blocks(dimension), func(block int) error {
		packed, count := p.blockRange(out[headerSize:], block, dimension)
		values := plaintext[min(block*p.degree, dimension):min((block+1)*p.degree, dimension)]
		element := p.encryptBlock(key, r, block, values, newStream(seed, block))
		return pack(packed, element[:count], p.modulus)
	})
}

// encryptBlock is one fully reduced ring element in coefficients.
func (p *parameters) encryptBlock(key *rlwe.SecretKey, r release, block int, values []int64, errors *stream) []uint64 {
	product, message := p.ring.NewPoly(), p.ring.NewPoly()
	p.publicElement(r, block, product.Coeffs[0])
	p.ring.MulCoeffsMontgomery(product, key.Value.Q, product)
	p.ring.INTT(product, product)
	p.placeCentred(values, message.Coeffs[0])
	// ReadAndAdd: the sampler's Read would emit the modulus itself for an error of −0.
	ring.NewGaussianSampler(errors, p.ring, p.encryptionNoise, false).ReadAndAdd(message)
	p.ring.Sub(message, product, message)
	return message.Coeffs[0]
}

// placeCentred writes T⁻¹·x mod Q. A negative x goes to Q − |x|, not to T − |x|: otherwise the opened error would
// count the participants with a negative value.
func (p *parameters) placeCentred(values []int64, into []uint64) {
	for index, value := range values {
		reduced := uint64(value)
		if value < 0 {
			reduced += p.modulus
		}
		into[index] = ring.MRed(reduced, p.scaleInverse, p.modulus, p.sub.MRedConstant)
	}
}

func (p *parameters) checkPlaintext(plaintext []int64) error {
	half := int64(1) << (p.plaintextBits - 1)
	for _, value := range plaintext {
		if value <= -half || value > half {
			return argument("a plaintext value is outside (−T/2, T/2], T = 2^%d", p.plaintextBits)
		}
	}
	return nil
}

func plaintextDigest(plaintext []int64) []byte {
	hash := sha256.New()
	var buffer [4096]byte
	for start := 0; start < len(plaintext); start += len(buffer) / 8 {
		part := plaintext[start:min(start+len(buffer)/8, len(plaintext))]
		for index, value := range part {
			binary.LittleEndian.PutUint64(buffer[8*index:], uint64(value))
		}
		hash.Write(buffer[:8*len(part)])
	}
	return hash.Sum(nil)
}
