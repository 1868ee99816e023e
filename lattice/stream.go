package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

const keySize = 32

// stream is an AES-256-CTR keystream. Streams of one key and different index never overlap (the index is the upper
// half of the counter block). As an io.Reader it feeds Lattigo's samplers.
type stream struct {
	cipher cipher.Stream
	buffer [4096]byte
	words  [512]uint64
	unread int // words not yet handed out, the last ones first
}

func newStream(key []byte, index int) *stream {
	block, err := aes.NewCipher(key)
	if err != nil || len(key) != keySize {
		panic("a stream key has 32 bytes")
	}
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[:8], uint64(index))
	return &stream{cipher: cipher.NewCTR(block, counter[:])}
}

// Read fills the slice with keystream; it never fails.
func (s *stream) Read(into []byte) (int, error) {
	clear(into)
	s.cipher.XORKeyStream(into, into)
	return len(into), nil
}

// word is the next 64 bits of the stream.
func (s *stream) word() uint64 {
	if s.unread == 0 {
		s.refill()
	}
	s.unread--
	return s.words[s.unread&511]
}

func (s *stream) refill() {
	s.Read(s.buffer[:])
	for index := range s.words {
		s.words[index] = binary.LittleEndian.Uint64(s.buffer[8*index:])
	}
	s.unread = len(s.words)
}

// uniform fills the slice with independent values in [0, modulus), by rejection.
func (s *stream) uniform(into []uint64, modulus uint64) {
	const mask = 1<<modulusBits - 1
	for len(into) > 0 {
		count := min(len(into), len(s.buffer)/8)
		raw := s.buffer[:8*count]
		s.Read(raw)
		for index := range count {
			value := binary.LittleEndian.Uint64(raw[8*index:]) & mask
			for value >= modulus {
				var again [8]byte
				s.Read(again[:])
				value = binary.LittleEndian.Uint64(again[:]) & mask
			}
			into[index] = value
		}
		into = into[count:]
	}
}

// derive is a PRF (HKDF-SHA256) of a secret over a label and parts, framed so that no two lists of parts collide.
func derive(secret []byte, label string, parts ...[]byte) []byte {
	info := append([]byte("fedcrm/1/lattice/"+label), 0)
	for _, part := range parts {
		info = binary.BigEndian.AppendUint64(info, uint64(len(part)))
		info = append(info, part...)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, string(info), keySize)
	if err != nil {
		panic(err)
	}
	return key
}

// publicHash is SHA-256 over a label and parts, framed as in derive.
func publicHash(label string, parts ...[]byte) []byte {
	hash := sha256.New()
	hash.Write(append([]byte("fedcrm/1/lattice/"+label), 0))
	for _, part := range parts {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	return hash.Sum(nil)
}

func number(value int) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(value))
}
