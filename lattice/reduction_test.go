package main

import (
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/multiparty"
	"github.com/tuneinsight/lattigo/v6/ring"
)

func unreduced(values []uint64, modulus uint64) (count int) {
	for _, value := range values {
		if value >= modulus {
			count++
		}
	}
	return count
}

// Nothing that leaves holds a coefficient at or above Q: key shares, contributions of zeros and of negative values,
// opening shares before and after masks; looked at before packing, which would refuse them.
func TestEverythingThatLeavesIsReduced(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 2, 2, 3)
	key, err := f.participantKey(f.secrets[0])
	f.must(err)
	sum := f.shareSum([]int{0, 1}, 2)
	for number := range byte(20) {
		r := releaseNumber(number)
		values := slices.Repeat([]int64{0, -1, 1<<31 - 1, -1<<31 + 1}, f.degree/4)
		found := unreduced(f.encryptBlock(key, r, 0, values, newStream(f.secrets[0], int(number))), f.modulus)
		found += unreduced(f.encryptBlock(key, r, 1, nil, newStream(f.secrets[1], int(number))), f.modulus)
		additive, err := f.additiveShare(sum, f.statement(r, "x", 2, []int{2, 3}, f.degree))
		f.must(err)
		share := f.openBlock(additive, r, 0, newStream(f.secrets[0], 100+int(number)))
		found += unreduced(share, f.modulus)
		f.addMask(share, newStream(f.secrets[0], 7), number%2 == 0)
		if found+unreduced(share, f.modulus) > 0 {
			t.Fatalf("%d coefficients left unreduced", found)
		}
	}
	for point := 1; point <= 3; point++ {
		share, err := f.readKey(f.shares[0][point-1], kindKeyShare)
		if f.must(err); unreduced(share.Q.Coeffs[0], f.modulus) > 0 {
			t.Error("a key share left unreduced")
		}
	}
}

// Why Lattigo's key-switch share is not used: it leaves in [0, 2Q), and the excess tells about the key.
func TestLattigoKeySwitchSharesAreUnreduced(t *testing.T) {
	p := parametersWith(t, 20)
	protocol, err := multiparty.NewKeySwitchProtocol(p.rlwe, p.holderNoise)
	if err != nil {
		t.Fatal(err)
	}
	ciphertext, key := rlwe.NewCiphertext(p.rlwe, 1), rlwe.NewKeyGenerator(p.rlwe).GenSecretKeyNew()
	ciphertext.IsNTT = true
	found := 0
	for number := range byte(64) {
		p.publicElement(releaseNumber(number), 0, ciphertext.Value[1].Coeffs[0])
		share := protocol.AllocateShare(0)
		protocol.GenShare(key, rlwe.NewSecretKey(p.rlwe), ciphertext, &share)
		found += unreduced(share.Value.Coeffs[0], p.modulus)
	}
	if found == 0 { // about one a block
		t.Error("the documented reason not to use it is gone")
	}
}

// Other places where Lattigo leaves Q or more; each is why one call and not another is used.
func TestLattigoLeavesTheModulusInOtherPlaces(t *testing.T) {
	p := parametersWith(t, 20)
	zero, out := p.ring.NewPoly(), p.ring.NewPoly()
	if p.ring.Neg(zero, out); unreduced(out.Coeffs[0], p.modulus) != p.degree {
		t.Error("Neg of 0 is reduced now")
	}
	noise := func() *ring.GaussianSampler {
		return ring.NewGaussianSampler(newStream(make([]byte, 32), 0), p.ring, p.encryptionNoise, false)
	}
	if noise().Read(out); unreduced(out.Coeffs[0], p.modulus) == 0 {
		t.Error("the Gaussian sampler's Read is reduced now")
	}
	if noise().ReadAndAdd(zero); unreduced(zero.Coeffs[0], p.modulus) != 0 {
		t.Error("ReadAndAdd leaves unreduced values")
	}
}

// decodingErrors opens with the dealer's own key, without holder noise, and returns the errors e.
func decodingErrors(f *federation, element []uint64, r release, key *rlwe.SecretKey) []int64 {
	product := f.ring.NewPoly()
	f.publicElement(r, 0, product.Coeffs[0])
	f.ring.MulCoeffsMontgomery(product, key.Value.Q, product)
	f.ring.INTT(product, product)
	f.ring.Add(ring.Poly{Coeffs: [][]uint64{element}}, product, product)
	errors := make([]int64, f.degree)
	for index, value := range product.Coeffs[0] {
		centred := int64(ring.MRed(value, f.scale, f.modulus, f.sub.MRedConstant))
		if uint64(centred) > f.modulus/2 {
			centred -= int64(f.modulus)
		}
		plain := centred << 32 >> 32
		errors[index] = (centred - plain) >> 32
	}
	return errors
}

// The error an opened sum shows is the same whether the values were negative or not. With the packing of Lattigo's bgv
// encoder, −x ↦ T − x, the error of every negative value is one off, and a sum of them counts the participants.
func TestErrorsDoNotTellTheSign(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 1, 1, 1)
	key, err := f.participantKey(f.secrets[0])
	f.must(err)
	r := releaseNumber(4)
	errorsOf := func(value int64) []int64 {
		element := f.encryptBlock(key, r, 0, slices.Repeat([]int64{value}, f.degree), newStream(f.secrets[0], 1))
		return decodingErrors(f, element, r, key)
	}
	if !slices.Equal(errorsOf(5), errorsOf(-5)) || !slices.Equal(errorsOf(1<<31-1), errorsOf(-1<<31+1)) {
		t.Error("the error depends on the sign")
	}
	plain, shifted := errorsOf(5), errorsOf(1<<32-5)
	for index := range plain {
		if shifted[index] != plain[index]+1 {
			t.Fatal("the packing T − x does not show: this test could not fail")
		}
	}
}
