package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"testing"
)

const testModulus = 0xFFFFFFFFFFE8001

// canonical are parameter bytes with the default numbers and the given holder noise.
func canonical(noiseBits byte) []byte {
	return binary.LittleEndian.AppendUint64(append([]byte(parameterLabel), 12, 32, noiseBits), testModulus)
}

func parametersWith(t testing.TB, noiseBits byte) *parameters {
	t.Helper()
	p, err := readParameters(canonical(noiseBits))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// federation is n dealers and k holders in one place, with everything an honest run of the scheme does.
type federation struct {
	*parameters
	t         *testing.T
	threshold int
	secrets   [][]byte
	shares    [][][]byte // dealer, holder
}

func newFederation(t *testing.T, p *parameters, dealers, threshold, holders int) *federation {
	t.Helper()
	f := &federation{parameters: p, t: t, threshold: threshold}
	size, _ := p.objectSize(kindKeyShare, p.degree)
	for dealer := range dealers {
		secret := bytes.Repeat([]byte{byte(dealer + 1)}, keySize)
		out := make([]byte, holders*size)
		f.must(p.deal(secret, threshold, holders, out))
		f.secrets = append(f.secrets, secret)
		f.shares = append(f.shares, slices.Collect(slices.Chunk(out, size)))
	}
	return f
}

func (f *federation) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func releaseNumber(number byte) release {
	return release{bytes.Repeat([]byte{number}, 32), bytes.Repeat([]byte{number + 1}, 32)}
}

func (f *federation) encryptAs(dealer int, r release, values []int64) []byte {
	f.t.Helper()
	size, err := f.objectSize(kindCiphertext, len(values))
	f.must(err)
	out := make([]byte, size)
	f.must(f.encrypt(f.secrets[dealer], r, values, out))
	return out
}

func (f *federation) sum(objects [][]byte, from, to kind, dimension int) []byte {
	f.t.Helper()
	size, err := f.objectSize(to, dimension)
	f.must(err)
	out := make([]byte, size)
	f.must(f.add(objects, from, to, dimension, out))
	return out
}

// shareSum is Σ_{i∈S} s_{i,j} for the holder at this point.
func (f *federation) shareSum(dealers []int, point int) []byte {
	var shares [][]byte
	for _, dealer := range dealers {
		shares = append(shares, f.shares[dealer][point-1])
	}
	return f.sum(shares, kindKeyShare, kindShareSum, f.degree)
}

// statement is what an honest holder answers, its pair keys bound to the name of the statement.
func (f *federation) statement(r release, name string, point int, active []int, dimension int) *statement {
	s := &statement{release: r, point: point, active: active, masks: map[int][]byte{}, dimension: dimension,
		noise: publicHash("test noise", []byte(name), number(point))}
	for _, other := range active {
		if other != point {
			pair := []byte(fmt.Sprint(min(point, other), max(point, other)))
			s.masks[other] = publicHash("test mask", []byte(name), pair)
		}
	}
	return s
}

func (f *federation) openAs(shareSum []byte, s *statement) []byte {
	f.t.Helper()
	size, err := f.objectSize(kindOpeningShare, s.dimension)
	f.must(err)
	out := make([]byte, size)
	f.must(f.open(shareSum, s, out))
	return out
}

// openingShares are the answers of A about S.
func (f *federation) openingShares(r release, dealers, active []int, dimension int) [][]byte {
	var shares [][]byte
	name := fmt.Sprint(dealers, active)
	for _, point := range active {
		s := f.statement(r, name, point, active, dimension)
		shares = append(shares, f.openAs(f.shareSum(dealers, point), s))
	}
	return shares
}

func (f *federation) bound(dealers int) int64 {
	return int64(9*f.holderNoise.Sigma*3*float64(f.threshold)) + int64(20*dealers)
}

func (f *federation) combined(ciphertext []byte, shares [][]byte, dimension int) ([]int64, error) {
	out := make([]int64, dimension)
	err := f.combine(ciphertext, shares, dimension, min(f.bound(len(f.secrets)), 1<<26), out)
	return out, err
}

func vectors(count, dimension int, limit int64) [][]int64 {
	source := rand.New(rand.NewSource(int64(count*dimension + 1)))
	result := make([][]int64, count)
	for index := range result {
		result[index] = make([]int64, dimension)
		for place := range result[index] {
			result[index][place] = source.Int63n(2*limit+1) - limit
		}
	}
	return result
}

func total(rows [][]int64) []int64 {
	sum := make([]int64, len(rows[0]))
	for _, row := range rows {
		for place, value := range row {
			sum[place] += value
		}
	}
	return sum
}

func upTo(count int) []int {
	result := make([]int, count)
	for index := range result {
		result[index] = index
	}
	return result
}

func points(count int) []int {
	result := upTo(count)
	for index := range result {
		result[index]++
	}
	return result
}

// Every t-of-k with k ≤ 9 and 2t > k + 1 opens to the plain sum, from the first and from the last t holders.
func TestRoundTripOfEveryThreshold(t *testing.T) {
	p := parametersWith(t, 20)
	for holders := 2; holders <= 9; holders++ {
		for threshold := (holders+1)/2 + 1; threshold <= holders; threshold++ {
			f := newFederation(t, p, 3, threshold, holders)
			values := vectors(3, 70, 1<<28)
			values[0][0], values[1][0], values[2][0] = 1<<31-1, -1, 0
			values[0][1], values[1][1], values[2][1] = -1<<31+1, 1, 0
			r := releaseNumber(byte(holders))
			var ciphertexts [][]byte
			for dealer := range values {
				ciphertexts = append(ciphertexts, f.encryptAs(dealer, r, values[dealer]))
			}
			sum := f.sum(ciphertexts, kindCiphertext, kindCiphertext, 70)
			for _, active := range [][]int{points(holders)[:threshold], points(holders)[holders-threshold:]} {
				opened, err := f.combined(sum, f.openingShares(r, upTo(3), active, 70), 70)
				f.must(err)
				if !slices.Equal(opened, total(values)) {
					t.Fatalf("%d of %d opened to other values", threshold, holders)
				}
			}
		}
	}
}

// Vectors of one value, of whole blocks and of one more than a block survive, whatever their tail.
func TestDimensionsAroundBlocks(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 2, 2, 2)
	for _, dimension := range []int{1, 2, 63, 64, 65, 4095, 4096, 4097, 8192, 8193} {
		values := vectors(2, dimension, 1<<30)
		r := releaseNumber(7)
		ciphertexts := [][]byte{f.encryptAs(0, r, values[0]), f.encryptAs(1, r, values[1])}
		sum := f.sum(ciphertexts, kindCiphertext, kindCiphertext, dimension)
		opened, err := f.combined(sum, f.openingShares(r, upTo(2), points(2), dimension), dimension)
		f.must(err)
		if !slices.Equal(opened, total(values)) {
			t.Fatalf("dimension %d opened to other values", dimension)
		}
	}
}

// Without all of A, or with two different S, nothing opens.
func TestIncompleteOrMixedAnswersDoNotOpen(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 3, 3, 4)
	values := vectors(3, 64, 1<<20)
	r := releaseNumber(3)
	sum := f.sum([][]byte{f.encryptAs(0, r, values[0]), f.encryptAs(1, r, values[1]), f.encryptAs(2, r, values[2])},
		kindCiphertext, kindCiphertext, 64)
	shares := f.openingShares(r, upTo(3), points(3), 64)
	other := f.openingShares(r, upTo(2), points(3), 64)
	moved := f.openingShares(r, upTo(3), []int{1, 2, 4}, 64)
	for name, answers := range map[string][][]byte{
		"t - 1 shares": shares[:2], "other S": {shares[0], shares[1], other[2]},
		"other A": {shares[0], moved[1], shares[2]}, "one twice": {shares[0], shares[1], shares[1]},
	} {
		if opened, err := f.combined(sum, answers, 64); err == nil || !slices.Equal(opened, make([]int64, 64)) {
			t.Errorf("%s: opened (%v)", name, err)
		}
	}
}

// A repeated step gives the same bytes; another plaintext, release or secret gives other errors and other bytes.
func TestRepeatedStepsRepeatTheirBytes(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 2, 2, 3)
	values := vectors(2, 100, 1000)
	first := f.encryptAs(0, releaseNumber(1), values[0])
	if !bytes.Equal(first, f.encryptAs(0, releaseNumber(1), values[0])) {
		t.Error("encryption is not deterministic")
	}
	for name, other := range map[string][]byte{
		"plaintext": f.encryptAs(0, releaseNumber(1), values[1]), "release": f.encryptAs(0, releaseNumber(2), values[0]),
		"secret": f.encryptAs(1, releaseNumber(1), values[0]),
	} {
		if bytes.Equal(first[headerSize:], other[headerSize:]) {
			t.Errorf("another %s gives the same bytes", name)
		}
	}
	again := newFederation(t, f.parameters, 2, 2, 3)
	if !bytes.Equal(f.shares[1][2], again.shares[1][2]) {
		t.Error("dealing is not deterministic")
	}
}

// Active sets that Lattigo's Combiner would silently get wrong, and masks that cannot cancel, are refused.
func TestStatementsThatCannotCancelAreRefused(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 1, 2, 3)
	sum := f.shareSum([]int{0}, 1)
	for name, change := range map[string]func(*statement){
		"own point outside A": func(s *statement) { s.point = 3 },
		"a doubled point":     func(s *statement) { s.active = []int{1, 1, 2} },
		"own point doubled":   func(s *statement) { s.active = []int{1, 2, 2} },
		"point 0":             func(s *statement) { s.active = []int{0, 1} },
		"a point above 32":    func(s *statement) { s.active = []int{1, 33} },
		"points out of order": func(s *statement) { s.active = []int{2, 1} },
		"nobody":              func(s *statement) { s.active = nil },
		"a missing mask":      func(s *statement) { delete(s.masks, 2) },
		"a foreign mask":      func(s *statement) { s.masks[3] = s.masks[2] },
		"a short mask":        func(s *statement) { s.masks[2] = s.masks[2][:31] },
		"a short noise key":   func(s *statement) { s.noise = nil },
	} {
		s := f.statement(releaseNumber(1), "x", 1, []int{1, 2}, 64)
		change(s)
		size, _ := f.objectSize(kindOpeningShare, 64)
		if f.open(sum, s, make([]byte, size)) == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}

// Wrong lengths, counts and ranges from the caller come back as errors.
func TestArgumentsOutOfRangeAreErrors(t *testing.T) {
	p := parametersWith(t, 20)
	secret, r := make([]byte, 32), releaseNumber(1)
	size, _ := p.objectSize(kindCiphertext, 64)
	tooLong, _ := p.objectSize(kindKeyShare, p.degree)
	for name, err := range map[string]error{
		"no dimension":      p.encrypt(secret, r, nil, nil),
		"short output":      p.encrypt(secret, r, make([]int64, 64), make([]byte, size-1)),
		"short secret":      p.encrypt(secret[:31], r, make([]int64, 64), make([]byte, size)),
		"plaintext above":   p.encrypt(secret, r, []int64{1<<31 + 1}, make([]byte, size)),
		"plaintext below":   p.encrypt(secret, r, []int64{-1 << 31}, make([]byte, size)),
		"threshold 0":       p.deal(secret, 0, 3, make([]byte, 3*tooLong)),
		"threshold above k": p.deal(secret, 4, 3, make([]byte, 3*tooLong)),
		"33 holders":        p.deal(secret, 4, 33, make([]byte, 33*tooLong)),
		"short shares":      p.deal(secret, 2, 3, make([]byte, 2*tooLong)),
		"empty sum":         p.add(nil, kindCiphertext, kindCiphertext, 64, make([]byte, size)),
		"bound too large":   p.combine(nil, [][]byte{nil}, 1, 1<<27, make([]int64, 1)),
		"noise key":         discreteGaussian(secret[:5], 4, make([]int64, 4)),
		"noise variance":    discreteGaussian(secret, maximumVariance+1, make([]int64, 4)),
	} {
		if err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
	if _, err := newRelease(secret, secret[:31]); err == nil {
		t.Error("a short descriptor digest was not refused")
	}
}

// Parameters that are insecure, not prime, or of another version are refused.
func TestBadParametersAreRefused(t *testing.T) {
	with := func(place int, value byte) []byte {
		changed := canonical(20)
		changed[len(parameterLabel)+place] = value
		return changed
	}
	for name, raw := range map[string][]byte{
		"label": canonical(20)[1:], "degree 2^11": with(0, 11), "degree 2^15": with(0, 15), "plaintext bits": with(1, 60),
		"noise bits": with(2, 29), "composite": with(3, 3), "59 bits": with(10, 7), "61 bits": with(10, 0x1f), "nothing": nil,
	} {
		if _, err := readParameters(raw); err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}

// A panic inside a worker becomes an error, and so does one in the calling goroutine.
func TestPanicsBecomeErrors(t *testing.T) {
	err := parallel(9, func(index int) error { return []error{nil}[index/8] })
	if f, ok := err.(*failure); !ok || f.status != statusInternal {
		t.Errorf("got %v", err)
	}
}
