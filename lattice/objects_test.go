package main

import (
	"encoding/binary"
	"math/rand"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// Packing keeps every coefficient, for even and odd counts, and refuses any that is not reduced.
func TestPackingKeepsCoefficients(t *testing.T) {
	source := rand.New(rand.NewSource(1))
	for _, count := range []int{1, 2, 3, 64, 65} {
		coefficients := make([]uint64, count)
		for index := range coefficients {
			coefficients[index] = source.Uint64() % testModulus
		}
		coefficients[0], coefficients[count-1] = testModulus-1, 0
		packed, back := make([]byte, packedSize(count)), make([]uint64, count)
		if err := pack(packed, coefficients, testModulus); err != nil {
			t.Fatal(err)
		}
		if err := unpack(back, packed, testModulus); err != nil || !slices.Equal(coefficients, back) {
			t.Errorf("%d coefficients changed (%v)", count, err)
		}
		for place := range coefficients {
			changed := slices.Clone(coefficients)
			changed[place] = testModulus
			if pack(packed, changed, testModulus) == nil {
				t.Errorf("an unreduced coefficient at %d left", place)
			}
		}
	}
}

// An element from outside with a coefficient at or above Q, in any place, is refused; so are stray bits at the end.
// Lattigo's own reader takes both.
func TestForeignElementsAreReduced(t *testing.T) {
	for _, count := range []int{64, 65} {
		for place := range count {
			for _, value := range []uint64{testModulus, 1<<60 - 1} {
				coefficients := make([]uint64, count)
				coefficients[place] = value
				packed := make([]byte, packedSize(count))
				_ = pack(packed, coefficients, 1<<60)
				if unpack(make([]uint64, count), packed, testModulus) == nil {
					t.Fatalf("%d at %d was taken", value, place)
				}
			}
		}
	}
	stray := make([]byte, packedSize(65))
	stray[len(stray)-1] = 0x10
	if unpack(make([]uint64, 65), stray, testModulus) == nil {
		t.Error("stray bits were taken")
	}
}

// Lattigo's reader as it is: it accepts 2^64 − 1 as a coefficient.
func TestLattigoReaderAcceptsOversizedCoefficients(t *testing.T) {
	p := parametersWith(t, 20)
	raw, err := p.ring.NewPoly().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(raw[len(raw)-8:], ^uint64(0))
	var poly ring.Poly
	if err = poly.UnmarshalBinary(raw); err != nil || poly.Coeffs[0][p.degree-1] != ^uint64(0) {
		t.Errorf("the documented reason for an own parser is gone: %v", err)
	}
}

// Every field of the header is checked, and the length.
func TestHeadersAreChecked(t *testing.T) {
	f := newFederation(t, parametersWith(t, 20), 1, 1, 1)
	good := f.encryptAs(0, releaseNumber(1), make([]int64, 70))
	if err := f.check(good, kindCiphertext, 70); err != nil {
		t.Fatal(err)
	}
	for place := range headerSize {
		changed := slices.Clone(good)
		changed[place] ^= 1
		if f.check(changed, kindCiphertext, 70) == nil {
			t.Errorf("a change in header byte %d was taken", place)
		}
	}
	for name, object := range map[string][]byte{
		"nothing": nil, "a header": good[:headerSize], "one byte less": good[:len(good)-1], "one byte more": append(good, 0),
	} {
		if f.check(object, kindCiphertext, 70) == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if f.check(good, kindOpeningShare, 70) == nil || f.check(good, kindCiphertext, 71) == nil || f.check(good, 9, 70) == nil {
		t.Error("a ciphertext was taken for something else")
	}
	other := parametersWith(t, 21)
	if other.check(good, kindCiphertext, 70) == nil {
		t.Error("a ciphertext of other parameters was taken")
	}
}
