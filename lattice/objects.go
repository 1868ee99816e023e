package main

import (
	"bytes"
	"encoding/binary"
)

// Every object on the wire is a header and bit-packed coefficients:
//
//	"FL", version, kind, first 16 bytes of the parameter digest, dimension (uint32, little endian)
//
// then 60 bits a coefficient, little endian, unused last bits zero. Its length follows from kind and dimension.
const (
	formatVersion = 1
	headerSize    = 24
	digestSize    = 16
)

type kind byte

const (
	kindKeyShare     kind = 1 // of one dealer, for one holder; NTT and Montgomery form
	kindShareSum     kind = 2 // of the dealers in S; NTT and Montgomery form
	kindCiphertext   kind = 3 // a contribution or a sum of them; coefficients
	kindOpeningShare kind = 4 // coefficients
)

func (k kind) String() string {
	switch k {
	case kindKeyShare:
		return "key share"
	case kindShareSum:
		return "sum of key shares"
	case kindCiphertext:
		return "ciphertext"
	case kindOpeningShare:
		return "opening share"
	}
	return "unknown object"
}

// packedSize is the number of bytes of this many coefficients.
func packedSize(count int) int {
	return (count*modulusBits + 7) / 8
}

// objectSize is the exact length of an object; key material has the ring's degree as dimension.
func (p *parameters) objectSize(k kind, dimension int) (int, error) {
	switch {
	case k < kindKeyShare || k > kindOpeningShare:
		return 0, argument("object kind %d does not exist", k)
	case dimension < 1 || dimension > maximumDimension:
		return 0, argument("dimension %d is not in 1 … %d", dimension, maximumDimension)
	case (k == kindKeyShare || k == kindShareSum) && dimension != p.degree:
		return 0, argument("a %v has dimension %d", k, p.degree)
	}
	return headerSize + packedSize(wireCount(dimension)), nil
}

func (p *parameters) writeHeader(object []byte, k kind, dimension int) {
	copy(object, []byte{'F', 'L', formatVersion, byte(k)})
	copy(object[4:], p.digest[:digestSize])
	binary.LittleEndian.PutUint32(object[4+digestSize:], uint32(dimension))
}

// payload checks header and length of an object from outside and returns its packed coefficients.
func (p *parameters) payload(object []byte, k kind, dimension int) ([]byte, error) {
	size, err := p.objectSize(k, dimension)
	if err != nil {
		return nil, err
	}
	if len(object) < headerSize || object[0] != 'F' || object[1] != 'L' {
		return nil, malformed("these bytes are not a %v", k)
	}
	if object[2] != formatVersion {
		return nil, malformed("format version %d is not %d", object[2], formatVersion)
	}
	if found := kind(object[3]); found != k {
		return nil, malformed("this is a %v, not a %v", found, k)
	}
	if !bytes.Equal(object[4:4+digestSize], p.digest[:digestSize]) {
		return nil, malformed("this %v was made under other scheme parameters", k)
	}
	if found := binary.LittleEndian.Uint32(object[4+digestSize:]); found != uint32(dimension) {
		return nil, malformed("this %v has dimension %d, not %d", k, found, dimension)
	}
	if len(object) != size {
		return nil, malformed("this %v has %d bytes, not %d", k, len(object), size)
	}
	return object[headerSize:], nil
}

// blockRange is the packed part of a payload that holds block b, and its number of coefficients.
func (p *parameters) blockRange(payload []byte, block, dimension int) ([]byte, int) {
	count := min(p.degree, wireCount(dimension)-block*p.degree)
	start := block * packedSize(p.degree)
	return payload[start : start+packedSize(count)], count
}

// pack writes coefficients as 15 bytes a pair. It refuses any that is not fully reduced: the excess of a value that
// left in [0, 2Q) tells about the key it was computed from.
func pack(packed []byte, coefficients []uint64, modulus uint64) error {
	reduced := true
	for len(coefficients) >= 2 {
		low, high := coefficients[0], coefficients[1]
		reduced = reduced && low < modulus && high < modulus
		binary.LittleEndian.PutUint64(packed, low|high<<60)
		binary.LittleEndian.PutUint32(packed[8:], uint32(high>>4))
		binary.LittleEndian.PutUint16(packed[12:], uint16(high>>36))
		packed[14] = byte(high >> 52)
		packed, coefficients = packed[15:], coefficients[2:]
	}
	if len(coefficients) == 1 {
		reduced = reduced && coefficients[0] < modulus
		binary.LittleEndian.PutUint64(packed, coefficients[0])
	}
	if !reduced {
		return &failure{statusInternal, "a coefficient was not fully reduced"}
	}
	return nil
}

// unpack reads coefficients and refuses any that is not below the modulus: an unreduced one from outside would
// overflow later and tell by that what it was added to.
func unpack(coefficients []uint64, packed []byte, modulus uint64) error {
	const mask = 1<<modulusBits - 1
	good := true
	for len(coefficients) >= 2 {
		word := binary.LittleEndian.Uint64(packed)
		rest := uint64(binary.LittleEndian.Uint32(packed[8:])) | uint64(binary.LittleEndian.Uint16(packed[12:]))<<32 |
			uint64(packed[14])<<48
		low, high := word&mask, word>>60|rest<<4
		good = good && low < modulus && high < modulus
		coefficients[0], coefficients[1] = low, high
		packed, coefficients = packed[15:], coefficients[2:]
	}
	if len(coefficients) == 1 {
		coefficients[0] = binary.LittleEndian.Uint64(packed)
		good = good && coefficients[0] < modulus
	}
	if !good {
		return malformed("a coefficient is not below the modulus")
	}
	return nil
}

// check parses an object completely and keeps nothing of it.
func (p *parameters) check(object []byte, k kind, dimension int) error {
	payload, err := p.payload(object, k, dimension)
	if err != nil {
		return err
	}
	return parallel(p.blocks(dimension), func(block int) error {
		packed, count := p.blockRange(payload, block, dimension)
		return unpack(make([]uint64, count), packed, p.modulus)
	})
}
