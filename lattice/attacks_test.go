package main

import (
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/multiparty"
	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/utils/sampling"
)

// Adversaries that succeed when their rule is off (in test code only) and fail when it is on.

// difference subtracts two ring elements and decodes what is left as if it were an opened sum.
func (f *federation) subtracted(first, second []uint64, dimension int) ([]int64, int) {
	left := make([]uint64, dimension)
	for index := range left {
		left[index] = ring.CRed(first[index]+f.modulus-second[index], f.modulus)
	}
	values := make([]int64, dimension)
	return values, f.decode(left, 1000, values)
}

// Rule: a key encrypts once per release id. Two encryptions under one id share −a·s; their difference is that of the
// plaintexts. Under another id a is another one, and the difference is uniform.
func TestTwoEncryptionsUnderOneIDSubtract(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 1, 1, 1)
	key, err := f.participantKey(f.secrets[0])
	f.must(err)
	values := vectors(2, 64, 1<<25)
	encrypted := func(number byte, which int) []uint64 {
		return f.encryptBlock(key, releaseNumber(number), 0, values[which], newStream(f.secrets[0], which))
	}
	wanted := []int64{}
	for index := range values[0] {
		wanted = append(wanted, values[0][index]-values[1][index])
	}
	if stolen, outside := f.subtracted(encrypted(1, 0), encrypted(1, 1), 64); outside > 0 || !slices.Equal(stolen, wanted) {
		t.Error("rule off: the adversary learns nothing, so this test cannot fail")
	}
	if stolen, outside := f.subtracted(encrypted(1, 0), encrypted(2, 1), 64); outside < 32 || slices.Equal(stolen, wanted) {
		t.Error("rule on: the adversary subtracts across release ids")
	}
}

// Rule: masks between holders. A coordinator tells each of nine holders another active set around it, so that all nine
// answer (6 of 9 keeps 2t > k + c). Nine products are redundant points of one polynomial of degree t − 1: the noises
// that fit them are close to a point of a lattice with gaps of 2^5, and with the noise gone the key is a division away.
// The noise has σ = 1 here; of σ = 2^20 the same lattice takes the upper bits, and with more holders all of them.
func TestRedundantSharesWithoutMasksGiveTheKey(t *testing.T) {
	f := newFederation(t, parametersWith(t, 0), 2, 6, 9)
	if wrong := f.stealKey(false); wrong > 0 {
		t.Errorf("rule off: %d coefficients of the key are missed, so this test cannot fail", wrong)
	}
	if wrong := f.stealKey(true); wrong < f.degree/2 {
		t.Errorf("rule on: only %d coefficients of the key are missed", wrong)
	}
}

// stealKey returns how many coefficients of Σ s_i the adversary gets wrong.
func (f *federation) stealKey(masked bool) (wrong int) {
	r, dealers, source := releaseNumber(9), []int{0, 1}, rand.New(rand.NewSource(3))
	lambda, answers := make([]uint64, 9), make([][]uint64, 9)
	for point := 1; point <= 9; point++ {
		active := someWith(source, point, f.threshold)
		s := f.statement(r, fmt.Sprint("shown to ", point), point, active, f.degree)
		key, err := f.additiveShare(f.shareSum(dealers, point), s)
		f.must(err)
		answers[point-1] = f.openBlock(key, r, 0, newStream(s.noise, 0))
		lambda[point-1] = lagrange(f.parameters, point, active)
		for _, other := range active {
			if masked && other != point {
				f.addMask(answers[point-1], newStream(s.bound(s.masks[other], "mask", f.parameters), 0), other > point)
			}
		}
	}
	product := removeNoise(f.parameters, answers, lambda, f.threshold)
	return f.compareKey(r, dealers, product)
}

// someWith is an active set of this size around a point of 1 … 9.
func someWith(source *rand.Rand, point, size int) []int {
	active := []int{point}
	for _, other := range source.Perm(9) {
		if other+1 != point && len(active) < size {
			active = append(active, other+1)
		}
	}
	slices.Sort(active)
	return active
}

// compareKey divides the guessed (Σ s)·a by a and counts the coefficients in which it is not Σ s.
func (f *federation) compareKey(r release, dealers []int, product []uint64) (wrong int) {
	guess, a := ring.Poly{Coeffs: [][]uint64{product}}, make([]uint64, f.degree)
	f.ring.NTT(guess, guess)
	f.publicElement(r, 0, a)
	for index, value := range a {
		inverse := ring.ModExp(value, f.modulus-2, f.modulus)
		product[index] = ring.BRed(product[index], inverse, f.modulus, f.sub.BRedConstant)
	}
	f.ring.INTT(guess, guess)
	sum := f.ring.NewPoly()
	for _, dealer := range dealers {
		key, err := f.participantKey(f.secrets[dealer])
		f.must(err)
		f.ring.Add(sum, key.Value.Q, sum)
	}
	f.ring.IMForm(sum, sum)
	f.ring.INTT(sum, sum)
	for index, value := range sum.Coeffs[0] {
		if product[index] != value {
			wrong++
		}
	}
	return wrong
}

// Rule: one reference per release that nobody chooses, instead of the textbook scheme, where holders answer for the
// summed ciphertext. There one participant sends (0, 2^50): the sum still opens to the right values, and the decoding
// error the holders hand out holds 2^50·s, every coefficient of the collective secret key.
func TestTextbookSchemeGivesTheCollectiveKey(t *testing.T) {
	params, err := rlwe.NewParametersFromLiteral(rlwe.ParametersLiteral{LogN: 12, LogQ: []int{55, 54}, NTTFlag: true})
	if err != nil {
		t.Fatal(err)
	}
	keys, public := collectiveKey(t, params, 3)
	ringQ, zero := params.RingQ(), rlwe.NewSecretKey(params)
	sum := rlwe.NewCiphertext(params, 1, params.MaxLevel())
	if err = rlwe.NewEncryptor(params, public).EncryptZero(sum); err != nil {
		t.Fatal(err)
	}
	scale := new(big.Int).Lsh(big.NewInt(1), 32)
	message := ringQ.NewPoly()
	ringQ.AddScalarBigint(message, new(big.Int).Mul(big.NewInt(12345), new(big.Int).ModInverse(scale, ringQ.Modulus())), message)
	ringQ.NTT(message, message) // every participant's values, summed: the constant 12345
	ringQ.Add(sum.Value[0], message, sum.Value[0])
	evil := ringQ.NewPoly()
	for level := range evil.Coeffs {
		evil.Coeffs[level][0] = 1 << 50
	}
	ringQ.NTT(evil, evil)
	ringQ.Add(sum.Value[1], evil, sum.Value[1])
	protocol, err := multiparty.NewKeySwitchProtocol(params, ring.DiscreteGaussian{Sigma: 1 << 20, Bound: 6 << 20})
	if err != nil {
		t.Fatal(err)
	}
	opened := *sum.Value[0].CopyNew()
	for _, key := range keys {
		share := protocol.AllocateShare(params.MaxLevel())
		protocol.GenShare(key, zero, sum, &share)
		ringQ.Add(opened, share.Value, opened)
	}
	ringQ.MulScalarBigint(opened, scale, opened)
	if wrong := compareCollective(ringQ, opened, keys); wrong > 0 {
		t.Errorf("%d of %d coefficients of the collective key are missed", wrong, params.N())
	}
}

func collectiveKey(t *testing.T, params rlwe.Parameters, parties int) ([]*rlwe.SecretKey, *rlwe.PublicKey) {
	t.Helper()
	protocol := multiparty.NewPublicKeyGenProtocol(params)
	source, err := sampling.NewKeyedPRNG([]byte("common reference"))
	if err != nil {
		t.Fatal(err)
	}
	reference, sum := protocol.SampleCRP(source), protocol.AllocateShare()
	var keys []*rlwe.SecretKey
	for range parties {
		key, share := rlwe.NewKeyGenerator(params).GenSecretKeyNew(), protocol.AllocateShare()
		protocol.GenShare(key, reference, &share)
		protocol.AggregateShares(sum, share, &sum)
		keys = append(keys, key)
	}
	public := rlwe.NewPublicKey(params)
	protocol.GenPublicKey(sum, reference, public)
	return keys, public
}

// compareCollective checks that T·opened is 12345 modulo T everywhere, and that its rest, rounded to multiples of
// T·2^50, is the sum of the keys.
func compareCollective(ringQ *ring.Ring, opened ring.Poly, keys []*rlwe.SecretKey) (wrong int) {
	collective := ringQ.NewPoly()
	for _, key := range keys {
		ringQ.Add(collective, key.Value.Q, collective)
	}
	ringQ.IMForm(collective, collective)
	ringQ.INTT(collective, collective)
	ringQ.INTT(opened, opened)
	errors, secret := bigs(ringQ, opened), bigs(ringQ, collective)
	for index := range errors {
		plain := new(big.Int).And(errors[index], big.NewInt(1<<32-1))
		if plain.Int64() != 12345 || rounded(errors[index], 82).Cmp(secret[index]) != 0 {
			wrong++
		}
	}
	return wrong
}
